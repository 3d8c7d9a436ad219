#!/bin/sh
# Rebuilds the example models and print files. Needs python3 and prusa-slicer (Debian: apt-get install prusa-slicer).
# Works without a display. PrusaSlicer writes the time of slicing into the first line, so that line differs each time.
set -eu
cd "$(dirname "$0")"
python3 make_models.py
slice() {
  model=$1 material=$2
  prusa-slicer --export-gcode --load core-one.ini --load "$material.ini" --center 125,110 \
    --output "../files/$model.gcode" "$model.stl" >/dev/null
  echo "../files/$model.gcode: $(wc -c <"../files/$model.gcode") bytes," \
    "$(sed -n 's/^; estimated printing time (normal mode) = //p' "../files/$model.gcode")"
}
mkdir -p ../files
slice cable-clip pla
slice label-stand pla
slice shelf-hook petg
sh ../make-files.sh
