"""The steps of launch/quickstart.sh that are not the program's."""
