"""The agent: due flow runs become infrastructure. Read run.py first."""
