"""Sets up the pipeline of an application that is named on the command line."""

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    Path("definition.json").write_text(json.dumps({"jobs": [{"name": f"deploy-{sys.argv[1]}"}]}))
    print(f"fly -t pr-inf sp -p pulumi-{sys.argv[1]} -c definition.json")
