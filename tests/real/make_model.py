"""Writes a tiny random Llama model, which `ollama create` takes: it talks nonsense, but by the real code.

Usage: make_model.py FILE.gguf

The vocabulary is the ASCII bytes, a word's start and three special tokens, the two layers are random (with a fixed
seed): some 400 kB. No bytes above ASCII: two of them can make U+0085, which the Python client takes for a line's end,
in the middle of a JSON document.
"""

import sys

import numpy as np
from gguf import GGUFWriter, TokenType

WIDTH, HEADS, FEED_FORWARD, LAYERS, CONTEXT = 64, 4, 128, 2, 8192
TOKENS = ["<unk>", "<s>", "</s>", "\u2581"] + [f"<0x{byte:02X}>" for byte in range(128)]
TYPES = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, TokenType.NORMAL] + [TokenType.BYTE] * 128


def write(path: str) -> None:
    """Writes the model's description, vocabulary and weights."""
    model = GGUFWriter(path, "llama")
    model.add_name("nonsense")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(LAYERS)
    model.add_feed_forward_length(FEED_FORWARD)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_vocab_size(len(TOKENS))
    model.add_file_type(0)  # all weights are 32-bit floats

    model.add_tokenizer_model("llama")
    model.add_token_list(TOKENS)
    model.add_token_scores([0.0] * len(TOKENS))
    model.add_token_types(TYPES)
    model.add_unk_token_id(0)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)

    for name, shape in shapes():
        model.add_tensor(name, weights(name, shape))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


def shapes():
    """Every tensor's name and shape, as the architecture prescribes them."""
    yield "token_embd.weight", (len(TOKENS), WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (WIDTH,)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"{block}.{part}.weight", (WIDTH, WIDTH)
        yield f"{block}.ffn_norm.weight", (WIDTH,)
        yield f"{block}.ffn_gate.weight", (FEED_FORWARD, WIDTH)
        yield f"{block}.ffn_up.weight", (FEED_FORWARD, WIDTH)
        yield f"{block}.ffn_down.weight", (WIDTH, FEED_FORWARD)
    yield "output_norm.weight", (WIDTH,)
    yield "output.weight", (len(TOKENS), WIDTH)


RANDOM = np.random.default_rng(11434)


def weights(name: str, shape: tuple) -> np.ndarray:
    """Norms are one; the rest is random, small enough to stay finite."""
    if name.endswith("_norm.weight"):
        return np.ones(shape, dtype=np.float32)
    return RANDOM.normal(0.0, 0.1, shape).astype(np.float32)


if __name__ == "__main__":
    write(sys.argv[1])
