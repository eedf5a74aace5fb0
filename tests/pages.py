"""Made pages taken apart, so that tests can read them."""

import csv
import io
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Elements of a piece of HTML as (tag, attributes), and its tables as rows of (text, data-sort, row class)."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.rows, self.open = [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("br", "img", "input", "wbr"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append({"class": dict(attrs).get("class", ""), "cells": []})
        if tag in ("td", "th"):
            self.rows[-1]["cells"].append({"text": "", "sort": dict(attrs).get("data-sort")})

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1]["cells"][-1]["text"] += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def body(self):
        return self.rows[1:]


def csv_of(html):
    (link,) = [a for a in Page(html).all("a") if "download" in a]
    assert link["href"].startswith("data:text/csv")
    return list(csv.DictReader(io.StringIO(unquote(link["href"].split(",", 1)[1])))), link
