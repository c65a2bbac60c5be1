# What contributors and the continuous integration run. CONTRIBUTING.md says how to set up.

export PATH := justfile_directory() / ".venv/bin:" + env("PATH")

# Show what there is
default:
    @just --list

# Run the tests that take under two minutes together; arguments go to pytest
quick *arguments:
    pytest -n 3 --dist loadfile -m "not slow" {{ arguments }}

# Run tests: `just test tests/core/delivery/test_outbox.py -k expiry`; without arguments all of them
test *arguments:
    pytest {{ arguments }}

# Run all tests on three processes
test-all:
    pytest -n 3 --dist loadfile

# Measure what the quick tests cover; fail below the figure in pyproject.toml, and show the lines that are missing
coverage *arguments: && coverage-report
    coverage erase
    coverage run -m pytest -n 3 --dist loadfile -m "not slow" {{ arguments }}

[private]
coverage-report:
    coverage combine --quiet
    coverage report

# Check style and format
lint:
    ruff check .
    ruff format --check .
    lint-imports

# Check types
types:
    mypy
    pyright

# Check the JavaScript: style, format and types
js:
    npm ci --prefix tests/javascript --ignore-scripts --prefer-offline --silent
    tests/javascript/node_modules/.bin/eslint --config tests/javascript/eslint.config.js --max-warnings 0 plugins tests transports
    tests/javascript/node_modules/.bin/prettier --config tests/javascript/.prettierrc.json --check "{plugins,tests,transports}/**/*.js" "!**/vendor/**" "{tests/javascript,transports}/**/*.{ts,json}"
    tests/javascript/node_modules/.bin/tsc --project tests/javascript
    tests/javascript/node_modules/.bin/tsc --project tests/javascript/tsconfig.node.json
    tests/javascript/node_modules/.bin/tsc --project tests/javascript/tsconfig.worker.json

# Build the documentation as a site in build/docs; a warning, such as for a broken link, is an error
docs:
    sphinx-build -W --keep-going -n -q -b html docs build/docs

# Write the generated parts of the reference from the code
docs-generate:
    python -m docs.generate

# Build the wheel, install it into an empty environment, and talk through it
wheel:
    bash .ci/wheel

# Make the files of a release in a folder, signed with an SSH key, or with one for this run alone
release folder key="":
    bash .ci/release "{{ folder }}" "{{ key }}"

# Check the Dockerfile, by its steps in bare Debian roots, and the manifests for Kubernetes
deployment:
    bash .ci/deployment

# Run the benchmarks of docs/explanation/benchmarks.md
bench *arguments:
    python -m tests.benchmarks {{ arguments }}

# Run the attacks and outages of docs/explanation/resilience.md and docs/explanation/data-lifetime.md
chaos *arguments:
    python -m tests.chaos {{ arguments }}

# Check all that Evanesce has to withstand, and print the table of docs/explanation/resilience.md; over an hour
withstand *arguments:
    python -m tests.withstand {{ arguments }}

# Run the protocol's state machine of docs/explanation/resilience.md
fuzz *arguments:
    python -m tests.fuzz {{ arguments }}

# Fuzz a server from its own schema, over WebSocket and over HTTP, as in docs/explanation/resilience.md
fuzz-schema *arguments:
    python -m tests.schema_fuzz {{ arguments }}

# Simulate a day of many clients and faults, as in docs/explanation/resilience.md
simulate *arguments:
    python -m tests.simulation {{ arguments }}
