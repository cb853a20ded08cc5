"""What leaves a run: embeddings, weights and portable functions; and the weights of others that enter one."""
