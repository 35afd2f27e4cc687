package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// wantDirect are the dependencies of the product. There is no fourth.
var wantDirect = []string{"github.com/rs/zerolog", "github.com/valyala/fasthttp", "golang.org/x/sys"}

// wantReplaced are the modules that the build replaces, each with its replacement.
var wantReplaced = map[string]string{
	"github.com/molecule-man/go-brrr": "./build/nobrotli", // brotli tables that nothing uses
}

// checkModule wants exactly three direct dependencies, and no module replaced without a reason.
func checkModule(*Tree) ([]Problem, string, error) {
	out, err := command(nil, "go", "mod", "edit", "-json")
	if err != nil {
		return nil, "", err
	}
	problems, err := directs([]byte(out))
	return problems, "3 direct dependencies", err
}

// directs compares the direct requirements of a go.mod, given as JSON, with those wanted.
func directs(modJSON []byte) ([]Problem, error) {
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace []struct{ Old, New struct{ Path string } }
	}
	if err := json.Unmarshal(modJSON, &mod); err != nil {
		return nil, fmt.Errorf("go.mod: %w", err)
	}
	var have []string
	for _, r := range mod.Require {
		if !r.Indirect {
			have = append(have, r.Path)
		}
	}
	slices.Sort(have)
	var found []Problem
	if !slices.Equal(have, wantDirect) {
		found = append(found, Problem(fmt.Sprintf("direct dependencies are %s; want %s", strings.Join(have, ", "), strings.Join(wantDirect, ", "))))
	}
	for _, r := range mod.Replace {
		if wantReplaced[r.Old.Path] != r.New.Path {
			found = append(found, Problem(fmt.Sprintf("go.mod replaces %s => %s: the product builds from what its authors released", r.Old.Path, r.New.Path)))
		}
	}
	return found, nil
}
