"""Builds the embedder: contrastive pre-training, fine-tuning, distillation and soup. Knows the embedder only."""
