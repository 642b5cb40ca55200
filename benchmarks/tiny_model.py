"""A language model of half a megabyte that knows nothing, for trying servers that want a GGUF file.

    python benchmarks/tiny_model.py tiny.gguf

A Llama of two layers with random weights (always the same ones) and a vocabulary of single characters. What it says is
noise, so that all sense in a reply is the server's own doing: its chat template, its grammar. Needs ``gguf``
(llama.cpp's own package), which is why it runs in the environment of the server to be tried, not in prelabel's.
"""

import sys

import gguf
import numpy as np

CONTEXT_TOKENS = 32_768
WIDTH, HEADS, LAYERS, INNER = 64, 4, 2, 128
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def main(path: str) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    size = _write_vocabulary(writer)
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(size)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _write_weights(writer, size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_vocabulary(writer: "gguf.GGUFWriter") -> int:
    """Three tokens for control, one a byte, one a character of ASCII; their number."""
    control = {b"<unk>": gguf.TokenType.UNKNOWN, b"<s>": gguf.TokenType.CONTROL, b"</s>": gguf.TokenType.CONTROL}
    raw = [f"<0x{byte:02X}>".encode() for byte in range(256)]
    characters = [chr(code).encode() for code in range(33, 127)] + ["▁".encode()]
    tokens = [*control, *raw, *characters]
    kinds = [*control.values(), *[gguf.TokenType.BYTE] * len(raw), *[gguf.TokenType.NORMAL] * len(characters)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (len(control) + len(raw)) + [-float(rank) for rank in range(len(characters))])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    return len(tokens)


def _write_weights(writer: "gguf.GGUFWriter", vocabulary: int) -> None:
    random = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", (random.standard_normal(shape) * 0.3).astype(np.float32))

    def add_norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))

    add("token_embd", vocabulary, WIDTH)
    add_norm("output_norm")
    add("output", vocabulary, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            add_norm(block + norm)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(block + part, WIDTH, WIDTH)
        add(block + "ffn_gate", INNER, WIDTH)
        add(block + "ffn_up", INNER, WIDTH)
        add(block + "ffn_down", WIDTH, INNER)


if __name__ == "__main__":
    main(sys.argv[1])
