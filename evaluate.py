"""Evaluate a run or released weights: python evaluate.py run=NAME split=test"""

from lineage.doors import main

if __name__ == "__main__":
    main("evaluate")
