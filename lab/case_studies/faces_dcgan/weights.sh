# Sourced by commands.sh, which has set $out. Sets $generator.
# The wheel's weights are all that is used: pip checks its hash, nothing is installed or imported.
if [ ! -d "$out/wheel/generateme" ]; then
  mkdir -p "$out/wheel"
  echo "generateme==0.1.2 --hash=sha256:3b8cdc677ebfd903905f2d806984b657fba368b429d3302fbb7810c8dfe4475b" \
    > "$out/wheel/requirements.txt"
  python -m pip download --quiet --no-deps --require-hashes --only-binary :all: \
    -r "$out/wheel/requirements.txt" -d "$out/wheel"
  python -m zipfile -e "$out"/wheel/generateme-*.whl "$out/wheel"
fi
generator="python:lab.case_studies.faces_dcgan.generator:load?weights=$out/wheel/generateme/static/Models/dcGanGeneratorModel.pt"
