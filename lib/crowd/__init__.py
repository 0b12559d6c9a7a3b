"""Who said what: labels, ratings and tags of a crowd, validated once, here."""
