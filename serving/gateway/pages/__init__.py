"""The gateway's pages for people: HTML from the server, one small style sheet inside, charts as SVG, no script, nothing from elsewhere.

`view -> text` functions, pure; `doors` puts them at their URLs. All text from outside goes through `markup.esc`.
"""
