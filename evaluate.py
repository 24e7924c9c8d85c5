"""Evaluate a run or released weights: python evaluate.py run=NAME split=test"""

from lineage.doors import command

if __name__ == "__main__":
    command("evaluate")
