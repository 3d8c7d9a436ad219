#!/bin/sh
# Rebuilds the example files for a Bambu Lab A1 (model code N2S): ../files/*-a1.gcode.3mf, and ../files.yaml.
# Needs python3 and prusa-slicer, no display. The result is the same each time for the same version of PrusaSlicer.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
slice() {
  model=$1 settings=$2
  prusa-slicer --export-gcode --load a1.ini --load "$settings.ini" --center 128,128 \
    --output "$work/$model-$settings.gcode" "$model.stl" >/dev/null
}
pack() {
  name=$1
  shift
  python3 make_sliced_3mf.py "../files/$name-a1.gcode.3mf" N2S "$@"
  echo "../files/$name-a1.gcode.3mf: $(wc -c <"../files/$name-a1.gcode.3mf") bytes"
}
slice cable-clip pla
slice label-stand three-filaments
pack cable-clip "$work/cable-clip-pla.gcode"
pack label-stand-two-colors "$work/label-stand-three-filaments.gcode"
# A project of two plates has one list of filaments: both are PLA here.
slice label-stand pla
pack two-plates "$work/cable-clip-pla.gcode" "$work/label-stand-pla.gcode"
sh ../make-files.sh
