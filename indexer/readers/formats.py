"""Which files are read, and of which type they are by their name."""

from pathlib import PurePosixPath

_LANGUAGES = {
    "python": "py pyi", "javascript": "js mjs cjs jsx", "typescript": "ts tsx", "java": "java", "kotlin": "kt kts",
    "scala": "scala", "groovy": "groovy gradle", "c": "c h", "cpp": "cc cpp cxx hh hpp", "csharp": "cs", "go": "go",
    "rust": "rs", "swift": "swift", "objective-c": "m mm", "ruby": "rb", "php": "php", "perl": "pl pm", "lua": "lua",
    "r": "r", "julia": "jl", "dart": "dart", "elixir": "ex exs", "erlang": "erl", "haskell": "hs", "clojure": "clj",
    "shell": "sh bash zsh fish", "powershell": "ps1", "sql": "sql", "yaml": "yaml yml", "toml": "toml", "ini": "ini",
    "css": "css scss less", "vue": "vue", "protobuf": "proto", "graphql": "graphql", "terraform": "tf",
}  # fmt: skip
PROGRAMMING_LANGUAGES = {
    f".{suffix}": language for language, suffixes in _LANGUAGES.items() for suffix in suffixes.split()
}
"""Name of the language by suffix of the file."""

SUPPORTED = {
    ".txt": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
    ".docx": "docx",
    ".pptx": "pptx",
    ".xlsx": "xlsx",
    ".epub": "epub",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".eml": "email",
    ".mbox": "mbox",
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".tar.xz": "tar",
    ".txz": "tar",
    ".tar.bz2": "tar",
    ".tbz2": "tar",
    **dict.fromkeys(PROGRAMMING_LANGUAGES, "code"),
}
"""File type by suffix in lower case. Documents from an archive have the type of what they were in it."""


def file_type(path_name: str) -> str:
    """Type of a file of this name, with or without folders; empty where it is not read."""
    name = PurePosixPath(path_name)
    if name.name == "METADATA" and name.parent.suffix == ".dist-info":
        return "package"
    if name.name.startswith(("._", "~$")):
        return ""  # what macOS and Office leave beside the file of that name
    suffixes = [suffix.lower() for suffix in name.suffixes[-2:]]
    return SUPPORTED.get("".join(suffixes)) or SUPPORTED.get(name.suffix.lower(), "")
