# Sourced by run.sh, which sets $real, $out and $images.
faces=$real/faces
small=()
training=(--steps 800)
written=(--written "$here/$name" --charts "$here/../../docs/case_studies")
if [ -n "$images" ]; then
  small=(--count "$images")
  training=(--steps 4 --views 1 --most 32)
  written=(--written "$out" --charts "$out")
fi

# What the first parser sees; every face also mirrored and moved.
unseen compare "$faces/ffhq.zip" "$faces/stylegan.zip" --labels FFHQ StyleGAN \
  --segmenter "onnx:$faces/parser-15?threads=1" --check-segmenter "${small[@]}" -o "$out/compare"

# A second parser: another network, other features, the same labelled faces.
python -m lab train face-parser --faces "$faces/labelled.zip" \
  --backbone "$real/ade20k-32/model.onnx" "${training[@]}" -o "$out/parser"
for side in ffhq stylegan; do
  unseen segment "$faces/$side.zip" "$out/second-$side.parquet" "${small[@]}" \
    --segmenter "python:lab.face_parser:load?weights=$out/parser/parser.safetensors"
done

python -m lab study faces-stylegan "$out" "${written[@]}"
