"""The site is built from notebooks that have been executed already (tools/build_docs.py); nothing runs here."""
project = "dataset_tutor"
author = copyright = "The dataset_tutor authors"
extensions = ["myst_nb"]
html_theme = "sphinx_book_theme"
html_title = "dataset_tutor"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"home_page_in_toc": True, "show_toc_level": 2, "navbar_persistent": []}
html_show_sourcelink = False
html_copy_source = False
root_doc = "index"
language = "en"
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]
