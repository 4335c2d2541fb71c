"""Texts, plots and self-contained HTML pages made of rows and tables; knows no plan or job.

`text` and `notebook` show rows and progress; `overview` makes the picture below a map; `page`
(with the map), `gallery` and `report` make pages of it, `plot` a matplotlib figure.
"""
