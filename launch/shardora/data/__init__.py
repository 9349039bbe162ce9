"""From records and their tokenizer to dataset files, and from questions to prompts."""
