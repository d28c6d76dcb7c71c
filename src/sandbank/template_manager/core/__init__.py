"""What goes into a template, decided without touching anything: recipes, mirrors, certificates."""
