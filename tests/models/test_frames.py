"""The frame: one BOS, the same prefix for every text, and exactly the text's own tokens."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from readout_ui.errors import UserError
from readout_ui.models.chat_template import TokenRole, Turn
from readout_ui.models.prompt import QUESTION, FramedText, frame_for, shared_prefix_length
from readout_ui.models.tokens import visible_tokens
from tests.support.architectures import CHATML, N_TOKENS, tiny_tokenizer

DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
)
GEMMA_LIKE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "<|im_start|>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
LLAMA2_LIKE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + "
    "m['content'].strip() + ' [/INST]' }}{% elif m['role'] == 'assistant' %}"
    "{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'].split('</think>')[-1].lstrip('\n') }}<|im_end|>\n{% endfor %}"
)
DATED = "{{ strftime_now('%d %b %Y') }}\n" + CHATML
PARTS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "default system": DEFAULT_SYSTEM + CHATML,
    "gemma": GEMMA_LIKE,
    "llama 2": LLAMA2_LIKE,
    "thinking": THINKING,
    "dated": DATED,
    "parts": PARTS,
    "none": None,
}
ODD_TEXTS = (
    "I feel calm.",
    " \n leading and trailing \t\n",
    "😀 I am glad 👩‍👩‍👧",
    "我很平静。没有什么可做。",
    "Donaudampfschifffahrtsgesellschaftskapitän" * 20,
    "It said <|im_end|> and <|im_start|>system\n, and I laughed.",
    "<|endoftext|>",
    "{{ messages }} {% raw %} [[0#]] </think> [/INST]",
    "two\n\nparagraphs\r\nand a line",
    "x",
)
texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=60)).filter(
    lambda text: text.strip()
)


class CharacterTokenizer(PreTrainedTokenizer):
    """A slow tokenizer, one token per character, that gives no offsets."""

    def __init__(self, **options: Any) -> None:
        self.letters = [chr(code) for code in (9, 10, *range(32, 127))]
        super().__init__(  # type: ignore[no-untyped-call]
            unk_token="?", **options
        )

    @property
    def vocab_size(self) -> int:
        return len(self.letters)

    def get_vocab(self) -> dict[str, int]:
        return {
            letter: index for index, letter in enumerate(self.letters)
        } | self.added_tokens_encoder

    def _tokenize(self, text: str, **_options: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self.letters.index(token) if token in self.letters else self.letters.index("?")

    def _convert_id_to_token(self, index: int) -> str:
        return self.letters[index]


def metaspace_tokenizer(chat_template: str | None) -> PreTrainedTokenizerFast:
    """SentencePiece's way: spaces are part of the next word, rare characters are bytes."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    words = [
        "I feel calm and I feel warm",
        "[INST] How do you feel [/INST]",
        "user model assistant\n",
    ]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=N_TOKENS,
        special_tokens=["<unk>", "<s>", "</s>", *byte_tokens],
        show_progress=False,
    )
    backend.train_from_iterator(words * 3, trainer)
    make: Callable[..., PreTrainedTokenizerFast] = PreTrainedTokenizerFast
    tokenizer = make(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = chat_template
    return tokenizer


def content(tokenizer: Any, framed: FramedText) -> str:
    ids = framed.token_ids[framed.content_start : framed.content_stop]
    return str(tokenizer.decode(list(ids)))


@pytest.mark.parametrize("template", TEMPLATES)
@given(text=texts)
def test_the_content_tokens_decode_to_the_text(template: str, text: str) -> None:
    tokenizer = tiny_tokenizer(TEMPLATES[template])
    framed = frame_for(tokenizer).frame(text, max_length=10_000)
    decoded = content(tokenizer, framed)
    # Only the template that prints a space before the text may lend it to the first token.
    assert decoded.removeprefix(" " if template == "llama 2" else "") == text.strip()
    assert framed.text == text.strip()


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "llama 2"])
@given(first=texts, second=texts)
def test_everything_before_the_text_is_the_same_for_all_texts(
    template: str, first: str, second: str
) -> None:
    frame = frame_for(tiny_tokenizer(TEMPLATES[template]))
    framed = [frame.frame(first, 99), frame.frame(second, 99)]
    assert framed[0].content_start == framed[1].content_start == shared_prefix_length(framed)
    assert (
        framed[0].token_ids[framed[0].content_stop :]
        == framed[1].token_ids[framed[1].content_stop :]
    )


@given(text=texts)
def test_the_whole_frame_is_what_the_template_renders(text: str) -> None:
    tokenizer = tiny_tokenizer(DEFAULT_SYSTEM + CHATML)
    framed = frame_for(tokenizer).frame(text, 10_000)
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": text.strip()},
    ]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert tokenizer.decode(list(framed.token_ids)) == rendered


@given(text=texts, max_length=st.integers(1, 12))
def test_truncation_cuts_the_text_and_keeps_the_frame(text: str, max_length: int) -> None:
    frame = frame_for(tiny_tokenizer())
    whole, cut = frame.frame(text, 10_000), frame.frame(text, max_length)
    length = whole.content_stop - whole.content_start
    assert cut.truncated == (length > max_length)
    assert cut.content_stop - cut.content_start == min(length, max_length)
    assert cut.token_ids[: cut.content_stop] == whole.token_ids[: cut.content_stop]
    assert cut.token_ids[cut.content_stop :] == whole.token_ids[whole.content_stop :]


def test_a_token_that_reaches_over_the_border_belongs_to_the_text() -> None:
    tokenizer = tiny_tokenizer(LLAMA2_LIKE)
    framed = frame_for(tokenizer).frame("I feel calm", 99)
    assert visible_tokens(tokenizer, framed.token_ids)[framed.content_start] == "·I"
    assert content(tokenizer, framed) == " I feel calm"


@pytest.mark.parametrize("text", ["I feel calm", "warm 😀", "你好 I feel"])
def test_sentencepiece_tokens_that_carry_the_templates_space_belong_to_the_text(text: str) -> None:
    tokenizer = metaspace_tokenizer(LLAMA2_LIKE)
    framed = frame_for(tokenizer).frame(text, 99)
    assert content(tokenizer, framed).strip() == text
    assert framed.token_ids[0] == tokenizer.bos_token_id


TOKENIZERS: dict[str, Callable[[str | None], Any]] = {
    "byte level": tiny_tokenizer,
    "sentencepiece": metaspace_tokenizer,
    "slow": lambda template: CharacterTokenizer(chat_template=template),
}


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", TOKENIZERS)
@given(many=st.lists(texts, min_size=1, max_size=6), max_length=st.integers(2, 30))
def test_many_texts_framed_at_once_have_the_tokens_that_each_has_alone(
    kind: str, template: str, many: list[str], max_length: int
) -> None:
    frame = frame_for(TOKENIZERS[kind](TEMPLATES[template]))
    assert frame.frame_all(many, max_length) == [frame.frame(text, max_length) for text in many]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_framed_at_once_a_text_has_the_tokens_of_the_whole_as_one_string(
    kind: str, template: str
) -> None:
    tokenizer = TOKENIZERS[kind](TEMPLATES[template])
    frame, many = frame_for(tokenizer), ["I feel calm", "warm 😀 and\n\nnaïve", "x"]
    for text, framed in zip(many, frame.frame_all(many, 99), strict=True):
        whole = tokenizer(frame.before + text + frame.after, add_special_tokens=False)
        assert list(framed.token_ids) == whole["input_ids"]


def test_many_texts_go_through_a_fast_tokenizer_in_one_call() -> None:
    tokenizer = tiny_tokenizer(CHATML)
    frame = frame_for(tokenizer)
    with patch.object(type(tokenizer), "__call__", side_effect=tokenizer.__call__) as called:
        frame.frame_all(["I feel calm", "warm", "It is late."], 99)
    assert called.call_count == 1


def test_a_slow_tokenizer_without_offsets_finds_the_same_text() -> None:
    tokenizer = CharacterTokenizer(chat_template=CHATML)
    framed = frame_for(tokenizer).frame("I feel calm", 99)
    ids = framed.token_ids[framed.content_start : framed.content_stop]
    assert "".join(tokenizer.convert_ids_to_tokens(list(ids))) == "I feel calm"
    chat = frame_for(tokenizer).frame_chat([Turn("user", "hi"), Turn("assistant", "yes")])
    assert [chat.roles.count(role) for role in ("user", "assistant")] == [2, 3]


@pytest.mark.parametrize("template", [CHATML, GEMMA_LIKE, LLAMA2_LIKE, None])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_frame_has_at_most_one_bos_and_exactly_one_where_the_tokenizer_wants_it(
    template: str | None, adds_bos: bool
) -> None:
    tokenizer = tiny_tokenizer(template, adds_bos=adds_bos)
    frame = frame_for(tokenizer)
    wanted = 1 if adds_bos or (template and "bos_token" in template) else 0
    for ids in (
        frame.frame("I feel calm", 99).token_ids,
        frame.frame_chat([Turn("user", "hi"), Turn("assistant", "yes")]).token_ids,
    ):
        assert ids.count(tokenizer.bos_token_id) == wanted
        assert (ids[0] == tokenizer.bos_token_id) == bool(wanted)


def test_a_raw_text_keeps_its_special_tokens_as_template_and_gets_the_bos_it_lacks() -> None:
    tokenizer = tiny_tokenizer(adds_bos=True)
    raw = frame_for(tokenizer).frame_raw("<|im_start|>hi<|im_end|>")
    assert visible_tokens(tokenizer, raw.token_ids) == (
        "<|endoftext|>", "<|im_start|>", "h", "i", "<|im_end|>"
    )  # fmt: skip
    assert [role == TokenRole.TEMPLATE for role in raw.roles] == [True, True, False, False, True]


@pytest.mark.parametrize("text", ["", "   ", "\n\t "])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="a text is empty"):
        frame_for(tiny_tokenizer()).frame(text, 99)


def test_a_length_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1 token, not 0"):
        frame_for(tiny_tokenizer()).frame("hi", 0)


def test_a_default_system_prompt_is_part_of_the_frame() -> None:
    tokenizer = tiny_tokenizer(DEFAULT_SYSTEM + CHATML)
    framed = frame_for(tokenizer).frame("hi", 99)
    assert "Be kind." in tokenizer.decode(list(framed.token_ids[: framed.content_start]))


def test_a_template_that_prints_the_date_gives_the_same_frame_every_day() -> None:
    assert frame_for(tiny_tokenizer(DATED)).before.startswith("26 Jul 2024\n")


@pytest.mark.parametrize(
    ("format", "printed"),
    [
        ("%A, %d %B %Y", "Friday, 26 July 2024"),
        ("%Y-%m-%d %H:%M", "2024-07-26 00:00"),
        ("%e %b %y", "26 Jul 24"),
        ("%a %j %U %p %S %%", "Fri 208 29 AM 00 %"),
        ("%x %X %c", "07/26/24 00:00:00 Fri Jul 26 00:00:00 2024"),
    ],
)
def test_every_directive_of_a_templates_clock_is_printed(format: str, printed: str) -> None:
    dated = f"{{{{ strftime_now('{format}') }}}}\n" + CHATML
    assert frame_for(tiny_tokenizer(dated)).before.startswith(f"{printed}\n")


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "none"])
def test_every_template_here_is_used_as_a_chat_template(template: str) -> None:
    assert frame_for(tiny_tokenizer(TEMPLATES[template])).kind == "chat template"


def test_no_chat_template_gives_a_plain_frame_that_says_so() -> None:
    frame = frame_for(tiny_tokenizer(None))
    assert (frame.kind, frame.before, frame.after) == ("plain", f"{QUESTION}\n", "")
    assert frame.describe().startswith("no chat template: plain frame")
    assert frame.frame("hi", 99).content_start > 0


def test_an_empty_question_still_leaves_no_text_at_position_zero() -> None:
    assert frame_for(tiny_tokenizer(None), question="").frame("hi", 99).content_start == 1


def chatml_with(content: str) -> str:
    """Turns that print their content in some other way."""
    return CHATML.replace("{{ m['content'] }}", content)


CHANGING = {
    "json": chatml_with("{{ m['content'] | tojson }}"),
    "slice": chatml_with("{{ m['content'][:5] }}"),
    "cut": chatml_with("{{ m['content'][:4000] }}"),
    "upper": chatml_with("{{ m['content'] | upper }}"),
    "escaped": chatml_with("{{ m['content'] | e }}"),
    "replaced": chatml_with("{{ m['content'] | replace('\\n\\n', '\\n') }}"),
    "twice": "Query: {{ messages[-1].content }}\n" + CHATML,
    "counted": chatml_with("{{ m['content'] | truncate(100) }}"),
}


@pytest.mark.parametrize("name", CHANGING)
def test_a_template_that_changes_or_repeats_a_text_is_not_used(name: str) -> None:
    frame = frame_for(tiny_tokenizer(CHANGING[name]))
    told = "it prints a text twice" if name == "twice" else "it changes a text"
    assert f"the chat template cannot be used ({told})" in frame.describe()
    prompt = frame.frame_chat([Turn("user", "hi"), Turn("assistant", "yes")], True)
    text = frame.tokenizer.decode(list(prompt.token_ids))
    assert "\x1f" not in text
    assert "1f" not in text


def test_a_bos_behind_a_line_break_is_the_only_one() -> None:
    tokenizer = tiny_tokenizer("\n\n{{ bos_token }}" + CHATML, adds_bos=True)
    framed = frame_for(tokenizer).frame("I feel calm", 99)
    assert framed.token_ids.count(tokenizer.bos_token_id) == 1


# Thinking

QWEN3_LIKE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% set reasoning = '' %}{% set content = m.content %}{% if '</think>' in content %}"
    "{% set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1]"
    ".lstrip('\n') %}{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if loop.last %}<think>\n{{ reasoning }}\n</think>\n\n{% endif %}{{ content }}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
OPENS_THINKING = (
    "{% for m in messages %}{% if m.role=='assistant' %}{% set c = m.content.split('</think>')[-1]"
    " %}<|im_start|>assistant\n{{ c }}<|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}{% endif %}"
)
THOUGHT = (
    "<think>secret plan</think>Hello!",
    "<think>\nsecret\n\nplan\n</think>\n\nHello!\n\nAnd more.",
    "secret plan</think>\n\nHello!",
    "<think>\n\n</think>\n\nHello!",
    "<think>secret plan</think>",
    "<think>not ended",
    "no thought at all",
)


@pytest.mark.parametrize("said", THOUGHT)
@pytest.mark.parametrize("template", [QWEN3_LIKE, OPENS_THINKING, THINKING, CHATML])
@pytest.mark.parametrize("options", [{}, {"enable_thinking": False}, {"enable_thinking": True}])
@pytest.mark.parametrize("going_on", [True, False])
def test_a_chat_with_reasoning_is_what_the_template_renders(
    said: str, template: str, options: dict[str, Any], going_on: bool
) -> None:
    tokenizer = tiny_tokenizer(template)
    turns = [Turn("user", "hi"), Turn("assistant", said)] + [Turn("user", "go")] * going_on
    framed = frame_for(tokenizer).frame_chat(turns, going_on, options)
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    rendered = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=going_on, **options
    )
    assert tokenizer.decode(list(framed.token_ids)) == rendered
    answer = said.rsplit("</think>", maxsplit=1)[-1].strip()
    spoken = [i for i, r in zip(framed.token_ids, framed.roles, strict=True) if r == "assistant"]
    assert str(tokenizer.decode(spoken)).endswith(answer)


def test_only_the_assistants_turns_are_read_for_reasoning() -> None:
    tokenizer = tiny_tokenizer(OPENS_THINKING)
    turns = [Turn("user", "what is <think>this</think> tag?")]
    framed = frame_for(tokenizer).frame_chat(turns, True)
    assert "user\nwhat is <think>this</think> tag?<|" in tokenizer.decode(list(framed.token_ids))


@pytest.mark.parametrize(
    ("template", "switch"),
    [
        (QWEN3_LIKE, "enable_thinking"),
        (CHATML, ""),
        (None, ""),
        (CHATML + "{% if thinking is defined and thinking %}<think>{% endif %}", "thinking"),
    ],
)
def test_a_frame_knows_how_its_template_is_told_not_to_think(
    template: str | None, switch: str
) -> None:
    assert frame_for(tiny_tokenizer(template)).thinking_switch == switch


@pytest.mark.parametrize("name", ["chat_template", "continue_final_message"])
def test_what_is_no_variable_of_a_template_cannot_be_set(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is no variable of a template"):
        frame_for(tiny_tokenizer()).frame_chat([Turn("user", "hi")], True, {name: "x"})


@pytest.mark.parametrize("template", ["{{ raise_exception('never') }}", "{% oops %}", "constant"])
def test_a_chat_template_that_cannot_be_used_gives_a_plain_frame_that_says_why(
    template: str,
) -> None:
    frame = frame_for(tiny_tokenizer(template))
    assert frame.kind == "plain"
    assert "the chat template cannot be used" in frame.describe()
    assert frame.frame("hi", 99).text == "hi"


def test_the_fingerprint_changes_with_question_and_template_and_nothing_else() -> None:
    fingerprint = frame_for(tiny_tokenizer()).fingerprint
    assert frame_for(tiny_tokenizer()).fingerprint == fingerprint
    assert frame_for(tiny_tokenizer(), "What is it like?").fingerprint != fingerprint
    assert frame_for(tiny_tokenizer(THINKING)).fingerprint != fingerprint
    assert frame_for(tiny_tokenizer(None)).fingerprint != fingerprint


def test_the_tokenizer_is_left_as_it_was() -> None:
    tokenizer = tiny_tokenizer()
    before = tokenizer.backend_tokenizer.to_str(), tokenizer.padding_side, tokenizer.pad_token
    frame_for(tokenizer).frame("It said <|im_end|>.", 2)
    assert tokenizer("<|im_end|>")["input_ids"] == [2]
    assert (
        tokenizer.backend_tokenizer.to_str(),
        tokenizer.padding_side,
        tokenizer.pad_token,
    ) == before


said = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "Cc")), max_size=20)
turns = st.lists(said, min_size=1, max_size=5).map(
    lambda texts: [Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts)]
)


@given(turns=turns, system=st.none() | said, prompt=st.booleans())
def test_roles_partition_the_tokens_of_a_chat(
    turns: list[Turn], system: str | None, prompt: bool
) -> None:
    tokenizer = tiny_tokenizer()
    chat = [Turn("system", system)] if system is not None else []
    framed = frame_for(tokenizer).frame_chat([*chat, *turns], prompt)
    for role in ("system", "user", "assistant"):
        ids = [i for i, r in zip(framed.token_ids, framed.roles, strict=True) if r == role]
        assert tokenizer.decode(ids) == "".join(t.text for t in [*chat, *turns] if t.role == role)
    messages = [{"role": turn.role, "content": turn.text} for turn in [*chat, *turns]]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    assert tokenizer.decode(list(framed.token_ids)) == rendered


def test_a_system_turn_goes_before_the_first_user_turn_where_the_template_refuses_it() -> None:
    tokenizer = tiny_tokenizer(GEMMA_LIKE)
    chat = frame_for(tokenizer).frame_chat([Turn("system", "Be kind."), Turn("user", "hello")])
    assert "user\nBe kind.\n\nhello<|im_end|>" in tokenizer.decode(list(chat.token_ids))
    system = [i for i, role in zip(chat.token_ids, chat.roles, strict=True) if role == "system"]
    assert tokenizer.decode(system) == "Be kind."


def test_a_chat_that_begins_with_the_assistant_is_refused_with_the_templates_own_words() -> None:
    with pytest.raises(UserError, match="refuses the turns assistant, user: roles must alternate"):
        frame_for(tiny_tokenizer(GEMMA_LIKE)).frame_chat(
            [Turn("assistant", "hello"), Turn("user", "hi")]
        )


def test_a_turn_that_the_template_would_drop_is_refused() -> None:
    with pytest.raises(UserError, match="leaves out turn 1"):
        frame_for(tiny_tokenizer(LLAMA2_LIKE)).frame_chat([Turn("system", "Be kind.")])


def test_texts_of_a_chat_are_stripped_where_the_template_strips_them_and_only_there() -> None:
    turns = [Turn("user", "  hi  ")]
    for template, expected in ((GEMMA_LIKE, "user\nhi<|"), (CHATML, "user\n  hi  <|")):
        tokenizer = tiny_tokenizer(template)
        assert expected in tokenizer.decode(list(frame_for(tokenizer).frame_chat(turns).token_ids))


def test_an_empty_chat_is_refused() -> None:
    with pytest.raises(UserError, match="the chat is empty"):
        frame_for(tiny_tokenizer()).frame_chat([])


@given(text=st.text(alphabet=st.characters(codec="ascii"), min_size=1))
def test_visible_tokens_join_to_the_text_with_its_spaces_marked(text: str) -> None:
    tokenizer = tiny_tokenizer(None)
    shown = "".join(visible_tokens(tokenizer, tokenizer(text)["input_ids"]))
    assert shown == text.translate(dict(zip(map(ord, " \n\t\r"), "·⏎⇥␍", strict=True)))


def test_bytes_of_a_character_that_spans_tokens_are_shown_as_bytes() -> None:
    tokenizer = tiny_tokenizer(None)
    assert visible_tokens(tokenizer, tokenizer("😀")["input_ids"]) == (
        "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"
    )  # fmt: skip


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_the_bundled_tokenizer_frames_odd_texts_exactly(text: str, bundled_model: Any) -> None:
    framed = bundled_model.frame.frame(text, 10_000)
    assert content(bundled_model.tokenizer, framed) == text.strip()
    assert framed.content_start == 37


def test_an_id_beyond_the_tokenizer_is_shown_as_its_number() -> None:
    tokenizer = tiny_tokenizer()
    assert visible_tokens(tokenizer, [len(tokenizer) + 7, 1]) == (
        f"<#{len(tokenizer) + 7}>",
        "<|im_start|>",
    )
