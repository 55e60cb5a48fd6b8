"""Finding the channel graph of a model, and proving it by cuts."""
