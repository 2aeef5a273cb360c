#!/usr/bin/env bash
# Make the numbers and charts of a case study again:
#   UNSEEN_REAL=folder lab/case_studies/run.sh faces_stylegan [FOLDER [IMAGES]]
# FOLDER keeps areas, weights and pictures (default: runs/case_studies/NAME); a run goes on there.
# IMAGES is the small form: that many images a side and a short training, everything in FOLDER.
set -euo pipefail
name=${1:?the name of a study: $(ls -d "$(dirname "$0")"/*/ | xargs -n 1 basename | tr '\n' ' ')}
here=$(cd "$(dirname "$0")" && pwd)
real=${UNSEEN_REAL:-$here/../../../shared/real}
out=${2:-runs/case_studies/$name}
images=${3:-}
[ -d "$real" ] || { echo "$real is no folder; name the real inputs in UNSEEN_REAL" >&2; exit 2; }
[ -f "$here/$name/commands.sh" ] || { echo "there is no study $name" >&2; exit 2; }
mkdir -p "$out"
. "$here/$name/commands.sh"
