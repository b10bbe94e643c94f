# Two commands set everything up on a machine with Python 3.11+ and make:
#   make run    install into .venv and do the whole job on built-in data
#   make test   install into .venv and run format, lint, types and all tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DATA ?= ../shared/data
SEASONS ?= 3
SEED ?= 1

.PHONY: run test check format results near-the-flag comparison backbone bench site explanations clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f'Python 3.11 or later is needed, this is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -c constraints.txt -e '.[dev]'
	touch $@

run: $(STAMP)
	$(BIN)/f1-predict run --seasons $(SEASONS) --seed $(SEED) --work build/demo

# What needs Ray or OpenVINO is tested last and alone: should one of them take its process along, that is seen at once,
# while pytest-xdist would wait for a lost worker for ever.
APART := tests/scale/test_ray.py tests/models/test_encoder_runtimes.py
test: $(STAMP)
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --cov --cov-report= $(APART:%=--ignore %)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(APART) --cov --cov-append --cov-report=term

# The quick part of `make test`, for every commit.
check: $(STAMP)
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format src tests
	$(BIN)/ruff check --fix src tests

# docs/results.md: ten seasons forecast walk-forward from the real races in $(DATA), all rungs of the ladder, and the
# report beside the predictions. On two cores: the pictures take about half an hour, once; the rest as long again.
REAL := build/results
results: $(STAMP)
	$(BIN)/f1-predict ingest --ergast $(DATA)/ergast --f1db $(DATA)/f1db --fastf1 $(DATA)/fastf1 \
	  --seasons 1996-2024 --out $(REAL)/data/processed
	$(BIN)/f1-predict backtest --test-seasons 2015-2024 --data $(REAL)/data/processed \
	  --embeddings $(REAL)/data/multimodal/embeddings --out $(REAL)/predictions.parquet --results docs/results.md
	$(BIN)/f1-predict report $(REAL)/predictions.parquet --data $(REAL)/data/processed \
	  --out $(REAL)/report.html

# docs/near-the-flag.md: what the networks of `train-field` score at the moments that they learn, the last laps among them,
# on the seasons that nothing was tuned on. About half an hour on two cores, less after `make results`.
near-the-flag: $(STAMP)
	test -f $(REAL)/data/processed/manifest.json || $(BIN)/f1-predict ingest --ergast $(DATA)/ergast --f1db $(DATA)/f1db \
	  --fastf1 $(DATA)/fastf1 --seasons 1996-2024 --out $(REAL)/data/processed
	$(BIN)/f1-predict backtest --test-seasons 2019-2024 --models current_order,network_fusion,best \
	  --fractions 0,.1,.25,.5,.75,.9,.99 --data $(REAL)/data/processed \
	  --embeddings $(REAL)/data/multimodal/embeddings --out $(REAL)/near-the-flag.parquet --results docs/near-the-flag.md

# docs/comparison.md: the design's comparison on one split; about half an hour.
comparison: $(STAMP)
	$(BIN)/f1-predict run --ergast $(DATA)/ergast --f1db $(DATA)/f1db --fastf1 $(DATA)/fastf1 \
	  --seasons 1996-2024 --train-seasons 1996-2018 --test-seasons 2019-2024 \
	  --work build/comparison --results docs/comparison.md

# docs/backbone.md: what backbones read off the pictures of the races that `make results` ingested. On two cores, mostly
# pictures to encode, once: about 10 minutes a style for weights that look at 224 pixels, 4 for 112; then the fits. With
# RUNTIME=torch, for processors without bfloat16, twice as long.
WEIGHTS ?= random,trace
RUNTIME ?= torch-bf16
backbone: $(STAMP)
	test -f $(REAL)/data/processed/manifest.json || $(BIN)/f1-predict ingest --ergast $(DATA)/ergast --f1db $(DATA)/f1db \
	  --fastf1 $(DATA)/fastf1 --seasons 1996-2024 --out $(REAL)/data/processed
	$(BIN)/f1-predict probe --weights $(WEIGHTS) --runtime $(RUNTIME) --data $(REAL)/data/processed \
	  --embeddings $(REAL)/data/multimodal/embeddings --work $(REAL)/probe --page docs/backbone.md

# The tables of docs/explanations.md: networks that learnt from two simulated seasons, and trouble put into the third.
# About ten minutes on two cores.
CHECK := build/explanations
explanations: $(STAMP)
	$(BIN)/f1-predict simulate --seasons 3 --seed 1 --out $(CHECK)/processed
	$(BIN)/f1-predict dataset --data $(CHECK)/processed --traces $(CHECK)/traces --out $(CHECK)/dataset.json \
	  --fractions 0.5,0.75
	$(BIN)/f1-predict train --traces $(CHECK)/traces --dataset $(CHECK)/dataset.json --model $(CHECK)/model
	$(BIN)/f1-predict explain-check --data $(CHECK)/processed --model $(CHECK)/model --rounds 6 --seed 1
	$(BIN)/f1-predict train-field --data $(CHECK)/processed --embeddings $(CHECK)/embeddings --seasons 2101-2102 \
	  --model $(CHECK)/field
	$(BIN)/f1-predict explain-check --data $(CHECK)/processed --model $(CHECK)/field --rounds 6 --seed 1

# The documentation as a site that loads nothing from elsewhere. Its pages open from the folder; to search them, too:
#   python3 -m http.server --directory build/site
site: $(STAMP)
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs build --strict

# docs/benchmarks.md and .json: every stage beside plain code, on the races of `make results` or on simulated ones. About
# twenty minutes on two cores, which should have nothing else to do.
bench: $(STAMP)
	$(BIN)/python -m bench.speed --data $(REAL)/data/processed

# Leaves data/ and artifacts/ alone: what was ingested and trained there is the user's.
clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
