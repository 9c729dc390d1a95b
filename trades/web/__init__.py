"""The pages: views, forms and the words on them."""
