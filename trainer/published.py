"""The published training data of KaLM-Embedding as sources: what there is, how much, in which language.

Both data sets hold rows of one schema: ``query`` (its instruction already in it), ``pos`` and ``neg`` (lists) and a
``relevance`` that is not used. Row counts of the pre-training set are those of a checked inventory, None where
none is public. Those of the fine-tuning set add up to the 3,655,225 rows that BidirLM (arXiv 2604.02045) kept of
it. How its folders are spelt is not known here: a source finds its folder by letters and digits alone, whatever
their case; a folder that is not listed is left alone, and a source without a folder is an error that names it.
"""

from collections.abc import Iterator

from trainer.config import DataConfig, Source

PRETRAINING = "hub:HIT-TMG/KaLM-embedding-pretrain-data"
FINETUNING = "hub:KaLM-Embedding/KaLM-embedding-finetuning-data"

_PRETRAINING = """
wikipedia                 37500000
falcon                    22951012  en
s2orc                     20685705  en
swim-ir-cross-lingual     15195052
stackoverflow             11759634  en
paq                        9004577  en
stackexchange              6759266  en
dbpedia-entity             4629644  en
swim-ir-monolingual        2961959
codesearchnet              1204732  en
big_patent                  460383  en
csl                         395176  zh
reddit                           ?  en
skypile                          ?  zh
Zhihu-KOL                        ?  zh
Amazon-Reviews-2023              ?
THUCNews                         ?  zh
multilingual_cc_news             ?
newsroom                         ?  en
nllb_400M                        ?
nllb_eng-zho_v0                  ?  en zh
webtext2019zh                    ?  zh
wudao                            ?  zh
xP3                              ?
xlsum                            ?
"""
"""Folder, rows and languages; none named means many."""

_FINETUNING = """
mMARCO-zh                     379870  Retrieval           zh
SimCLUE                       290699  STS                 zh
Multi-CPR                     234587  Retrieval           zh
SimCSE NLI                    217099  STS                 en
T2Ranking                     188606  Retrieval           zh
nli_zh                        185787  STS                 zh
llm retrieval short-long      149511  Retrieval
llm STS monolingual           132561  STS
CMNLI                         119029  STS                 zh
llm retrieval long-long       114979  Retrieval
llm retrieval long-short      114584  Retrieval
DuReader-checklist             97764  Retrieval           zh
cMedQA-V2                      88109  Retrieval           zh
PubMedQA                       79954  Retrieval           en
DuReader                       79229  Retrieval           zh
ELI5                           76408  Retrieval           en
llm retrieval short-short      76315  Retrieval
llm STS bitext                 75271  STS
XNLI-zh                        74252  STS                 zh
MEDI2BGE                       71790  Retrieval           en
MultiNLI                       63701  STS                 en
NQ                             56377  Retrieval           en
RefGPT                         49896  Retrieval           zh
CodeFeedback                   49090  Retrieval           en
WikiAnswers                    47686  STS                 en
QBQTC                          47223  STS                 zh
Mr.TyDi                        46997  Retrieval
OpenOrca                       38623  Retrieval           en
retrieval_data_llm             32551  Retrieval           zh
MLDR                           31097  Retrieval
CC-News                        28246  Retrieval           en
NLLB                           26504  STS
ESCI                           26043  Retrieval           en
Aya                            22449  Retrieval
Yahoo Answers                  21724  Retrieval           en
CSL                            19945  Retrieval           zh
LCSTS                          19535  Retrieval           zh
THUCNews                       19288  Retrieval           zh
WebGPT                         18924  Retrieval           en
ChatMed                        18608  Retrieval           zh
AdvertiseGen                   17526  Retrieval           zh
OCNLI                          11937  STS                 zh
ATEC                           11387  STS                 zh
BQ                             10000  STS                 zh
SearchQA                        9988  Retrieval           en
CMRC2018                        9753  Retrieval           zh
rag-dataset-12000               9272  Retrieval           en
lawzhidao                       6784  Retrieval           zh
webqa                           4988  Retrieval           zh
CHEF                            4824  Retrieval           zh
cCOVID-News                     4727  Retrieval           zh
DRCD                            4714  Retrieval           zh
AFQMC                           3876  STS                 zh
CINLID                          2883  STS                 zh
UMETRIP-QA                      2537  Retrieval           zh
ChineseSTS                      2497  STS                 zh
LIMA-zh                         1991  Retrieval           zh
WebCPM                          1602  Retrieval           zh
ExpertQA                        1252  Retrieval           en
CAIL2019-SCM                     648  STS                 zh
ContractNLI                      628  STS                 en
law-gpt                          500  Retrieval           zh
"""
"""Folder, rows, task and languages; columns stand two spaces apart, as names have single ones."""

_OVERLAPPING = """
MIRACL                             ?  Retrieval
MS MARCO passage                   ?  Retrieval           en
MS MARCO v2                        ?  Retrieval           en
TriviaQA                           ?  Retrieval           en
SQuAD v2                           ?  Retrieval           en
NFCorpus                           ?  Retrieval           en
GooAQ                          49833  Retrieval           en
PAQ                            49849  Retrieval           en
arxiv_qa                       17927  Retrieval           en
MASSIVE classification             ?  Classification
MASSIVE clustering                 ?  Clustering
CQADupStack                        ?  Retrieval           en
CORD-19 TREC-COVID             48517  Retrieval           en
DBpedia-entity                 96792  Retrieval           en
FEVER                          87215  Retrieval           en
FiQA                               ?  Retrieval           en
HotpotQA                           ?  Retrieval           en
PAWS-X                             ?  STS                 zh
Quora                              ?  STS                 en
SciFact                            ?  Retrieval           en
SNLI                               ?  STS                 en
"""
"""As above: sources that share texts with MTEB tasks."""


def published_pretraining() -> DataConfig:
    """The 25 folders of weakly supervised pairs (KaLM-Embedding, arXiv 2501.01028), bare on both sides."""
    sources = []
    for line in _PRETRAINING.strip().splitlines():
        name, rows, *languages = line.split()
        sources.append(_source(name, rows, "Retrieval", languages))
    return DataConfig(root=PRETRAINING, sources=tuple(sources))


def published_finetuning(*, overlaps: bool = False) -> DataConfig:
    """The labelled pairs with hard negatives, instructions in the rows.

    Args:
        overlaps: Take the sources that share texts with MTEB tasks as well: then scores on those tasks measure
            fit, not transfer. How they are spelt is known least of all.
    """
    listed = [*_listed(_FINETUNING), *(_listed(_OVERLAPPING) if overlaps else ())]
    return DataConfig(root=FINETUNING, sources=tuple(listed))


def _listed(table: str) -> Iterator[Source]:
    for line in table.strip().splitlines():
        name, rows, task, *languages = (part.strip() for part in line.split("  ") if part.strip())
        yield _source(name, rows, task, languages)


def _source(name: str, rows: str, task: str, languages: list[str]) -> Source:
    return Source(
        name=name,
        path=name,
        form="contrastive",
        task=task,
        instruction="",
        languages=tuple(languages),
        rows=None if rows == "?" else int(rows),
        licence="MIT, as the data set's card says",
    )
