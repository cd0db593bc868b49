"""Sets up the pipeline that deploys the shop."""

import json
from pathlib import Path

JOBS = [{"name": f"deploy-{stage}"} for stage in ("ci", "qa", "production")]

if __name__ == "__main__":
    Path("definition.json").write_text(json.dumps({"jobs": JOBS}))
    print("fly -t <prod_target> sp -p deploy-shop -c definition.json")
