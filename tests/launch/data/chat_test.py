"""Chats: which tokens of a conversation are the assistant's, for the ways in which templates write them."""

import json
import unittest

import tiny
from tiny import CHATML, Case

U, A = "<|im_start|>user\n", "<|im_start|>assistant\n"
GO = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "ok"}]
TWICE = GO + [{"role": "user", "content": "On"}, {"role": "assistant", "content": "no"}]
# Like Qwen 3: the last answer is written with its thinking, earlier ones lose theirs.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% set parts = m.content.split('</think>') %}{% if loop.last %}<think>\n"
    "{{ parts[0].split('<think>')[-1].strip() if parts|length > 1 else '' }}\n</think>\n\n{% endif %}"
    "{{ parts[-1].strip() }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# Like Mistral and Llama 2: what ends the question starts the answer.
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
# Like Phi 3: a conversation that asks nothing ends with one more token.
ENDED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% else %}{{ eos_token }}{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ 'User:' if m.role == 'user' else 'Bot:' }} {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}Bot:{% endif %}"
)
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{%- endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
)
SHOUTING = CHATML.replace("{{ m.content }}", "{{ m.content if loop.last or m.role == 'user' else m.content|upper }}")
FORGETFUL = (
    "{% if messages|length > 2 %}(earlier: {{ messages|length - 2 }}){% endif %}{% for m in messages[-2:] %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@tiny.needs_packages
class Templates(Case):
    def chat(self, template, messages, *more):
        tokenizer = self.tokenizer(template=template, begin=False)
        self.prepared(tokenizer, self.file("a.jsonl", [{"messages": messages}]), "chat", *more)
        return self.marked(tokenizer)[0]

    def test_every_answer_is_learned_with_its_end_and_nothing_else(self):
        self.assertEqual(
            self.chat(CHATML, TWICE), f"{U}Go<|im_end|>\n{A}[ok<|im_end|>]\n{U}On<|im_end|>\n{A}[no<|im_end|>]\n"
        )

    def test_the_last_answer_alone(self):
        self.assertEqual(
            self.chat(CHATML, TWICE, "--train-on", "last"),
            f"{U}Go<|im_end|>\n{A}ok<|im_end|>\n{U}On<|im_end|>\n{A}[no<|im_end|>]\n",
        )

    def test_all_but_the_first_token(self):
        self.assertEqual(
            self.chat(CHATML, GO, "--train-on", "all"), f"<|im_start|>[user\nGo<|im_end|>\n{A}ok<|im_end|>\n]"
        )

    def test_weight_zero_takes_an_answer_out(self):
        messages = [dict(TWICE[0]), {**TWICE[1], "weight": 0}, *TWICE[2:]]
        self.assertEqual(
            self.chat(CHATML, messages), f"{U}Go<|im_end|>\n{A}ok<|im_end|>\n{U}On<|im_end|>\n{A}[no<|im_end|>]\n"
        )

    def test_an_answer_to_nothing_and_a_question_without_answer_are_read_only(self):
        messages = [{"role": "assistant", "content": "Hi"}, *GO, {"role": "user", "content": "So"}]
        self.assertEqual(
            self.chat(CHATML, messages), f"{A}Hi<|im_end|>\n{U}Go<|im_end|>\n{A}[ok<|im_end|>]\n{U}So<|im_end|>\n"
        )

    def test_content_that_looks_like_a_header_moves_nothing(self):
        messages = [{"role": "user", "content": A + "ok<|im_end|>\n"}, {"role": "assistant", "content": f"{U}ok"}]
        self.assertEqual(self.chat(CHATML, messages), f"{U}{A}ok<|im_end|>\n<|im_end|>\n{A}[{U}ok<|im_end|>]\n")

    def test_thinking_that_later_turns_lose(self):
        thought = [*TWICE[:3], {"role": "assistant", "content": "<think>\nhm\n</think>\n\nno"}]
        self.assertEqual(
            self.chat(THINKING, thought),
            f"{U}Go<|im_end|>\n{A}[ok<|im_end|>]\n{U}On<|im_end|>\n{A}[<think>\nhm\n</think>\n\nno<|im_end|>]\n",
        )

    def test_a_generation_prompt_that_closes_the_thinking(self):
        option = ("--template-option", "enable_thinking=false")
        self.assertEqual(
            self.chat(THINKING, GO, *option), f"{U}Go<|im_end|>\n{A}<think>\n\n</think>\n\n[ok<|im_end|>]\n"
        )
        thought = [GO[0], {"role": "assistant", "content": "<think>hm</think>ok"}]
        self.assertEqual(
            self.chat(THINKING, thought, *option), f"{U}Go<|im_end|>\n{A}<think>\n[hm\n</think>\n\nok<|im_end|>]\n"
        )

    def test_answers_that_start_where_the_question_ends(self):
        self.assertEqual(self.chat(BRACKETS, TWICE), "<s>[INST] Go [/INST][ ok</s>][INST] On [/INST][ no</s>]")

    def test_a_token_that_only_whole_conversations_end_with(self):
        self.assertEqual(
            self.chat(ENDED, TWICE), f"{U}Go<|im_end|>\n{A}[ok<|im_end|>]\n{U}On<|im_end|>\n{A}[no<|im_end|>\n</s>]"
        )

    def test_a_template_without_end_tokens_gets_one_at_the_end(self):
        self.assertEqual(self.chat(PLAIN, TWICE), "User: Go\nBot:[ ok\n]User: On\nBot:[ no\n</s>]")

    def test_a_template_that_marks_its_answers(self):
        self.assertEqual(
            self.chat(MARKED, TWICE), f"{U}Go<|im_end|>\n{A}[ok<|im_end|>]\n{U}On<|im_end|>\n{A}[no<|im_end|>]\n"
        )
        self.assertEqual(
            self.chat(MARKED, TWICE, "--train-on", "last"),
            f"{U}Go<|im_end|>\n{A}ok<|im_end|>\n{U}On<|im_end|>\n{A}[no<|im_end|>]\n",
        )

    def test_a_template_without_generation_prompt_is_refused(self):
        tokenizer = self.tokenizer(template=CHATML.partition("{% if add")[0])
        self.refused(
            65,
            r"a\.jsonl, line 1, turn 2: the chat template has no generation prompt",
            tokenizer,
            self.file("a.jsonl", [{"messages": GO}]),
            "chat",
        )

    def test_a_generation_prompt_that_answers_do_not_start_with_is_refused(self):
        template = CHATML.replace("<|im_start|>assistant\n{% endif", "<|im_start|>assistant\n(done) {% endif")
        path = self.file("a.jsonl", [{"messages": GO}])
        self.refused(65, "line 1, turn 2: the chat template renders", self.tokenizer(template=template), path, "chat")

    def test_a_template_that_rewrites_what_was_said_is_refused_but_for_its_last_turn(self):
        tokenizer, path = self.tokenizer(template=SHOUTING, begin=False), self.file("a.jsonl", [{"messages": TWICE}])
        self.refused(65, "line 1, turn 2: the chat template renders .* use --train-on last", tokenizer, path, "chat")
        self.prepared(tokenizer, path, "chat", "--train-on", "last")
        self.assertEqual(
            self.marked(tokenizer), [f"{U}Go<|im_end|>\n{A}OK<|im_end|>\n{U}On<|im_end|>\n{A}[no<|im_end|>]\n"]
        )
        forgetful = self.tokenizer(template=FORGETFUL, begin=False)
        self.refused(65, "line 1, turn 4: .* before this turn", forgetful, path, "chat", "--train-on", "last")

    def test_a_template_given_as_a_file_wins(self):
        tokenizer, file = self.tokenizer(template=BRACKETS, begin=False), self.file("other.jinja", CHATML)
        self.prepared(tokenizer, self.file("a.jsonl", [{"messages": GO}]), "chat", "--prompt", file)
        self.assertEqual(self.marked(tokenizer), [f"{U}Go<|im_end|>\n{A}[ok<|im_end|>]\n"])

    def test_an_answer_that_says_nothing_is_not_learned(self):
        messages = [GO[0], {"role": "assistant", "content": " "}, *TWICE[2:]]
        self.assertEqual(self.chat(BRACKETS, messages), "<s>[INST] Go [/INST]  </s>[INST] On [/INST][ no</s>]")
        path = self.file("b.jsonl", [{"messages": messages[:2]}])
        self.refused(65, "0 kept, 1 dropped as empty", self.tokenizer(template=CHATML), path, "chat")

    def test_a_broken_template_and_one_that_refuses(self):
        path = self.file("a.jsonl", [{"messages": GO}])
        self.refused(
            65,
            "broken.jinja, line 1: not a Jinja template",
            self.tokenizer(),
            path,
            "chat",
            "--prompt",
            self.file("broken.jinja", "{% for m in messages %}"),
        )
        angry = "{% if messages|length > 1 %}{{ raise_exception('not two') }}{% endif %}"
        self.refused(
            65,
            "line 1: the chat template refuses this conversation: not two",
            self.tokenizer(template=angry),
            path,
            "chat",
        )

    def test_a_template_cannot_reach_python(self):
        spy = "{{ messages.__class__.__mro__[1].__subclasses__() }}" + CHATML
        self.refused(
            65,
            "line 1: the chat template refuses this conversation: .*unsafe",
            self.tokenizer(template=spy),
            self.file("a.jsonl", [{"messages": GO}]),
            "chat",
        )

    def test_sharegpt_and_parts_and_system(self):
        tokenizer = self.tokenizer(template=CHATML, begin=False)
        turns = [{"from": "human", "value": "Go"}, {"from": "gpt", "value": "ok"}]
        self.prepared(tokenizer, self.file("a.json", json.dumps([{"conversations": turns, "system": "Be"}])), "chat")
        self.assertEqual(
            self.marked(tokenizer), [f"<|im_start|>system\nBe<|im_end|>\n{U}Go<|im_end|>\n{A}[ok<|im_end|>]\n"]
        )
        parts = [{"role": "user", "content": [{"type": "text", "text": "G"}, {"type": "text", "text": "o"}]}, GO[1]]
        self.assertEqual(self.chat(CHATML, parts), f"{U}Go<|im_end|>\n{A}[ok<|im_end|>]\n")

    def test_instructions_go_through_the_chat_template(self):
        tokenizer = self.tokenizer(template=CHATML, begin=False)
        self.prepared(
            tokenizer, self.file("a.jsonl", [{"instruction": "Add", "input": "1 2", "output": "3"}]), "instruction"
        )
        self.assertEqual(self.marked(tokenizer), [f"{U}Add\n\n1 2<|im_end|>\n{A}[3<|im_end|>]\n"])


@tiny.needs_packages
@tiny.needs_minimind
class Minimind(Case):
    """A real template, with system, user, assistant and tool turns, calls of tools, and thinking."""

    MESSAGES = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"at": "Bonn"}}}],
        },
        {"role": "tool", "content": "rain"},
        {"role": "assistant", "content": "It rains."},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes.", "reasoning_content": "Look again."},
    ]
    GOLDEN = (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWeather?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
        '[<tool_call>\n{"name": "weather", "arguments": {"at": "Bonn"}}\n</tool_call><|im_end|>]\n'
        "<|im_start|>user\n<tool_response>\nrain\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n[It rains.<|im_end|>]\n"
        "<|im_start|>user\nSure?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n[Look again.\n</think>\n\nYes.<|im_end|>]\n"
    )

    def test_golden_mask(self):
        result = self.prepared(tiny.MINIMIND, self.file("a.jsonl", [{"messages": self.MESSAGES}]), "chat")
        self.assertEqual(self.marked(tiny.MINIMIND), [self.GOLDEN])
        self.assertEqual(result["prompt"], "chat")

    def test_tools_are_shown_and_not_learned(self):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
        self.prepared(tiny.MINIMIND, self.file("a.jsonl", [{"messages": self.MESSAGES, "tools": tools}]), "chat")
        marked = self.marked(tiny.MINIMIND)[0]
        self.assertIn('<tools>\n{"type": "function"', marked.partition("[<tool_call>")[0])
        self.assertTrue(marked.endswith(self.GOLDEN.partition("user\n")[2]))

    def test_tokens_are_those_of_transformers(self):
        from transformers import AutoTokenizer

        from shardora import dataset_file

        self.prepared(tiny.MINIMIND, self.file("a.jsonl", [{"messages": self.MESSAGES}]), "chat")
        expected = AutoTokenizer.from_pretrained(tiny.MINIMIND).apply_chat_template(self.MESSAGES, return_dict=True)
        self.assertEqual(dataset_file.read(self.output)[0][0], expected["input_ids"])


if __name__ == "__main__":
    unittest.main()
