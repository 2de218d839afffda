"""Small files of the formats that need a library or some care to make."""

import io
import tarfile
import zipfile
from email.message import EmailMessage

ENGLISH = "Green tea is made of leaves that are steamed soon after they are picked."
CHINESE = "绿茶的茶叶在采摘后不久就蒸青，因此保持绿色。"


def make_zip(members, compression=zipfile.ZIP_DEFLATED):
    """A ZIP archive of members by name; a name may be a ZipInfo."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def make_tar(members, mode="w:gz"):
    """A tar archive of members by name; where one is no bytes it is what a symbolic link leads to."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
    return file.getvalue()


def replaced(data, name, content):
    """A ZIP archive with a part of another content, left out where that is None."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    parts[name] = content
    return make_zip({part: content for part, content in parts.items() if content is not None})


def make_docx():
    import datetime

    import docx

    document = docx.Document()
    document.core_properties.title = "On Tea"
    document.core_properties.author = "Ana Li"
    document.core_properties.modified = datetime.datetime(2024, 5, 6)
    document.add_paragraph("Before any heading.")
    document.add_heading("Green Tea", 1)
    document.add_paragraph(ENGLISH)
    document.add_heading("Grades", 2)
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip((cell for row in table.rows for cell in row.cells), ("Grade", "Price", "Sencha", "low")):  # noqa: B905
        cell.text = text
    document.add_heading("绿茶", 1)
    document.add_paragraph(CHINESE)
    document.add_paragraph("first", style="List Bullet")
    document.add_paragraph("second", style="List Bullet")
    return _saved(document)


def make_pptx():
    import pptx

    deck = pptx.Presentation()
    deck.core_properties.author = "Ana Li"
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "Green Tea"
    first.placeholders[1].text = f"Leaves\n{ENGLISH}"
    first.notes_slide.notes_text_frame.text = "Say this slowly."
    second = deck.slides.add_slide(deck.slide_layouts[6])
    box = second.shapes.add_textbox(0, 0, 100, 100)
    box.text_frame.text = CHINESE
    table = second.shapes.add_table(1, 2, 0, 0, 100, 100).table
    table.cell(0, 0).text, table.cell(0, 1).text = "Sencha", "low"
    return _saved(deck)


def make_xlsx(**sheets):
    """A workbook of sheets, each a list of rows, by name."""
    import openpyxl

    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    workbook.properties.creator = "Ana Li"
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    return _saved(workbook)


def _saved(document):
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def make_epub(pages=None, package=""):
    """A book of pages by file name."""
    pages = pages or {"two.xhtml": f"<h1>Two</h1><p>{CHINESE}</p>", "one.xhtml": f"<h1>One</h1><p>{ENGLISH}</p>"}
    names = sorted(pages)
    items = "".join(f'<item id="{name}" href="text/{name}" media-type="application/xhtml+xml"/>' for name in pages)
    spine = "".join(f'<itemref idref="{name}"/>' for name in names)
    package = package or (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>The Book of Tea</dc:title><dc:creator>Okakura Kakuzō</dc:creator><dc:date>1906-05-01</dc:date>"
        f"<dc:language>en</dc:language></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    return make_zip(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "OPS/book.opf": package,
            **{
                f"OPS/text/{name}": f'<?xml version="1.0"?><html><body>{page}</body></html>'
                for name, page in pages.items()
            },
        }
    )


def make_parquet(rows):
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def make_message(subject="会议：Tea", text=ENGLISH, html="", attachment="", id="1@example.org"):
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "Ana Li <ana@example.org>"
    message["To"] = "Bo <bo@example.org>"
    message["Date"] = "Mon, 06 May 2024 10:00:00 +0200"
    message["Message-ID"] = f"<{id}>"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    if attachment:
        message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename=attachment)
    return message


def make_mbox(messages):
    def quoted(message):
        return message.as_bytes().replace(b"\nFrom ", b"\n>From ")

    return b"".join(b"From ana Mon May  6 10:00:00 2024\n" + quoted(message) + b"\n" for message in messages)


def valid_files(pdf):
    """A readable file of every format, by name."""
    inner = {"a/notes.md": f"# Notes\n\n{ENGLISH}".encode(), "rows.csv": b"id,text\n1,one\n2,two\n"}
    return {
        "a.txt": ENGLISH.encode(),
        "a.md": f"# Tea\n\n{CHINESE}".encode(),
        "a.html": f"<h1>Tea</h1><p>{ENGLISH}</p>".encode(),
        "a.pdf": pdf,
        "a.docx": make_docx(),
        "a.pptx": make_pptx(),
        "a.xlsx": make_xlsx(FAQ=[["question", "answer"], ["Why?", ENGLISH]], Sums=[["a", "b"], [1, 2.5]]),
        "a.epub": make_epub(),
        "a.csv": inner["rows.csv"],
        "a.jsonl": b'{"id": 1, "text": "one"}\n',
        "a.json": b'[{"id": 1, "text": "one"}]',
        "b.json": b'{"title": "T", "deep": {"list": [1, "two", {"x": null}]}}',
        "a.parquet": make_parquet([{"id": 1, "text": ENGLISH}]),
        "a.eml": make_message(html=f"<p>{ENGLISH}</p>", attachment="plan.pdf").as_bytes(),
        "a.mbox": make_mbox([make_message(), make_message(id="2@example.org")]),
        "a.py": b'"""Doc."""\n\nimport os\n\n\ndef f():\n    return os\n',
        "a.sql": b"select 1;\n\nselect 2;\n",
        "a.zip": make_zip(inner),
        "a.tar": make_tar(inner, "w:"),
        "a.tar.gz": make_tar(inner, "w:gz"),
        "a.tar.bz2": make_tar(inner, "w:bz2"),
        "a.tar.xz": make_tar(inner, "w:xz"),
    }
