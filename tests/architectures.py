"""Tiny models with random weights of every class that transformers loads as a language model or an encoder of texts.

Sizes are derived: every size that a config names in a common way is made small. Some classes need more; see `MORE`.
"""

import dataclasses
import string
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

D_MODEL, N_LAYERS, N_HEADS, VOCABULARY, CONTEXT = 16, 3, 2, 64, 64
_SMALL = {
    name: size
    for size, names in (
        (D_MODEL, "hidden_size n_embd d_model dim embedding_size word_embed_proj_dim embed_dim emb_dim"),
        (N_LAYERS, "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_encoder_layers"),
        (N_LAYERS, "num_decoder_layers num_decoder_hidden_layers num_encoder_hidden_layers"),
        (N_HEADS, "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads"),
        (N_HEADS, "num_decoder_attention_heads num_encoder_attention_heads num_key_value_heads"),
        (2 * D_MODEL, "intermediate_size n_inner d_inner encoder_ffn_dim decoder_ffn_dim ffn_dim hidden_dim dim_ff"),
        (2 * D_MODEL, "moe_intermediate_size shared_expert_intermediate_size expert_ffn_hidden_size"),
        (2 * D_MODEL, "shared_intermediate_size intermediate_size_mlp"),
        (VOCABULARY, "vocab_size vocab_size_per_layer_input n_words"),
        (CONTEXT, "max_position_embeddings n_positions n_ctx"),
        (4, "num_experts num_local_experts n_routed_experts moe_num_experts"),
        (2, "num_experts_per_tok moe_topk moe_k"),
        (8, "head_dim qk_rope_head_dim qk_nope_head_dim v_head_dim"),
        (16, "q_lora_rank kv_lora_rank qk_head_dim"),
        (1, "n_group topk_group"),
    )
    for name in names.split()
}
_PER_LAYER = (
    *("layer_types", "mlp_layer_types", "layers_block_type", "no_rope_layers", "attention_types", "attention_layers"),
)
"""Lists with one entry per block, which are left to the defaults of the class."""
_DECODER = {"is_decoder": True}
_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
_DOTS3 = {
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads"), N_HEADS),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "head_dim"), 16),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **{f"swa_{name}": N_HEADS for name in ("num_attention_heads", "num_key_value_heads")},
    **{f"swa_{name}": 16 for name in ("q_lora_rank", "kv_lora_rank", "head_dim")},
    **{f"swa_{name}": 8 for name in ("qk_nope_head_dim", "v_head_dim")},
}
_REFORMER = {"axial_pos_embds_dim": [8, 8], "axial_pos_shape": [8, 8], "attn_layers": ["local", "lsh", "local"]}
MORE: dict[str, dict[str, Any]] = {
    "BambaForCausalLM": _MAMBA | {"attn_layer_indices": [1]},
    "BltForCausalLM": {"encoder_hash_byte_group_vocab": VOCABULARY},
    "CodeGenForCausalLM": {"n_head": 4, "rotary_dim": 4},
    "CohereCompassForCausalLM": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
            for kind in ("full_attention", "sliding_attention")
        }
    },
    "DbrxForCausalLM": {
        "attn_config": {"kv_n_heads": N_HEADS, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "DeepseekV2ForCausalLM": {"num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "Dots1ForCausalLM": {
        **{"n_routed_experts": 4, "num_experts_per_tok": 2},
        **{"n_shared_experts": 1, "first_k_dense_replace": 1},
    },
    "Dots3NoteForCausalLM": _DOTS3,
    "EsmForMaskedLM": {"vocab_size": VOCABULARY, "mask_token_id": 4, "pad_token_id": 1},
    "GPTJForCausalLM": {"rotary_dim": 4},
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local"], 1], [["global"], 1]]},
    "Gemma3nForCausalLM": {
        **{
            "num_kv_shared_layers": 0,
            "layer_types": ["full_attention"] * N_LAYERS,
            "intermediate_size": [32] * N_LAYERS,
        },
        **{"laurel_rank": 4, "hidden_size_per_layer_input": 8, "altup_num_inputs": 2},
        "activation_sparsity_pattern": [0.0] * N_LAYERS,
    },
    "GraniteMoeHybridForCausalLM": _MAMBA,
    "HunYuanDenseV1ForCausalLM": {"head_dim": 8},
    "HunYuanMoEV1ForCausalLM": {"head_dim": 8},
    "JambaForCausalLM": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "KimiLinearForCausalLM": {"num_experts_per_token": 2},
    "Lfm2MoeForCausalLM": {"layer_types": ["conv", "full_attention", "conv"], "num_dense_layers": 1},
    "LukeForMaskedLM": {"entity_vocab_size": 8, "entity_emb_size": 16},
    "Mamba2ForCausalLM": {"num_heads": 4, "head_dim": 8, "state_size": 8, "n_groups": 1},
    "MiMoV2FlashForCausalLM": {"num_key_value_heads": 1},
    "MinistralForCausalLM": {"head_dim": 8},
    "MobileBertForMaskedLM": {"embedding_size": D_MODEL // 2},
    "NeoMMEForMaskedLM": {"head_dim": 16},
    "PerceiverForMaskedLM": {
        **{"d_latents": 16, "num_latents": 8, "num_blocks": 1, "num_self_attends_per_block": N_LAYERS},
        **{"num_self_attention_heads": N_HEADS, "num_cross_attention_heads": N_HEADS},
    },
    "Qwen3NextForCausalLM": {"layer_types": ["linear_attention", "full_attention", "linear_attention"]},
    "ReformerForMaskedLM": _REFORMER | {"is_decoder": False},
    "ReformerModelWithLMHead": _REFORMER | _DECODER,
    "RoCBertForCausalLM": {
        **{"pronunciation_vocab_size": VOCABULARY, "shape_vocab_size": VOCABULARY},
        **{"pronunciation_embed_dim": 8, "shape_embed_dim": 8},
    },
    "XmodForCausalLM": {"default_language": "en_XX"},
    "XmodForMaskedLM": {"default_language": "en_XX"},
    "Zamba2ForCausalLM": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention"],
        **{"n_mamba_heads": 4, "mamba_d_state": 8, "mamba_ngroups": 1},
    },
    "ZambaForCausalLM": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
    "ZayaForCausalLM": {"num_experts_per_tok": 1},
}
"""Settings that a class needs beyond small sizes."""


def language_models() -> list[str]:
    """List the classes that transformers loads as language models."""
    return sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()))


def encoders() -> list[str]:
    """List the classes of masked language models."""
    return sorted(set(MODEL_FOR_MASKED_LM_MAPPING_NAMES.values()) - set(language_models()))


def tiny_model(name: str) -> PreTrainedModel:
    """Make a model of a class of transformers, in evaluation mode; weights are large, so that every part matters."""
    kind = getattr(transformers, name)
    more = MORE.get(name, {})
    if name in language_models() and "is_decoder" in _fields(kind.config_class()):
        more = _DECODER | more  # encoders with a causal mask
    config = _tiny(kind.config_class, more)
    with torch.device("meta"):
        n_params = sum(weight.numel() for weight in kind(config).parameters())
    if n_params > 20_000_000:
        raise ValueError(f"{name} has {n_params} parameters: make its sizes small in MORE")
    torch.manual_seed(0)
    model = kind(config).eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.normal_(0, weight.shape[-1] ** -0.5)
    return model


def save(model: PreTrainedModel, folder: Path) -> None:
    """Write a checkpoint folder with a tokenizer of single characters."""
    model.save_pretrained(folder)
    vocabulary = {"[UNK]": 5} | {letter: 6 + i for i, letter in enumerate(string.ascii_lowercase + " .,;()")}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))


def _tiny(kind: type[PreTrainedConfig], more: dict[str, Any]) -> PreTrainedConfig:
    default, made = kind(), {}
    for name in _fields(default):
        value = _value(default, name)
        is_size = isinstance(value, int) and not isinstance(value, bool)
        if name in _SMALL and (is_size or (value is None and name == "num_key_value_heads")):
            made[name] = _SMALL[name]
        elif name.endswith(("token_id", "token_index")) and _is_above(value):
            made[name] = 2 if name.startswith(("image", "video", "audio")) else 1
        elif name in _PER_LAYER and value:
            made[name] = None
    for name in kind.sub_configs:
        part = getattr(default, name, None)
        if isinstance(part, PreTrainedConfig) and "hidden_size" in _fields(part):
            made[name] = _tiny(type(part), more.get(name, {})).to_dict()
    return kind(**made | {name: value for name, value in more.items() if not isinstance(made.get(name), dict)})


def _fields(config: PreTrainedConfig) -> set[str]:
    return {field.name for field in dataclasses.fields(config)} - set(type(config).attribute_map)


def _value(config: PreTrainedConfig, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except RuntimeError:  # blocks differ in it
        return None


def _is_above(value: Any) -> bool:
    ids = value if isinstance(value, list) else [value]
    return any(isinstance(one, int) and one >= VOCABULARY for one in ids)
