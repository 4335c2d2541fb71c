"""Pages for people: maps, galleries and reports that load nothing from elsewhere."""
