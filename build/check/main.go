// Command check holds the source tree to its own rules: formatting, who may import whom, what must
// never be linked in, documentation, size. `make check` runs it from the top of the tree.
package main

import (
	"flag"
	"fmt"
	"os"
)

// Problem is one breach of a rule, as one line for a person.
type Problem string

// Check is one rule of the tree.
type Check struct {
	Name string
	// Run returns what breaks the rule, and a short remark for the line that says it holds.
	Run func(t *Tree) (problems []Problem, remark string, err error)
}

// checks in the order in which they run: cheap ones first.
var checks = []Check{
	{"formatting", checkFormat},
	{"go.mod", checkModule},
	{"package comments", checkPackageComments},
	{"source words", checkSource},
	{"conformance", checkConformance},
	{"specification", checkSpec},
	{"rooms", checkRooms},
	{"shape", checkShape},
	{"map of rooms", checkMap},
	{"imports", checkImports},
	{"vet", checkVet},
	{"linker", checkLinker},
	{"sizes", checkSizes},
}

func main() {
	drawMap := flag.Bool("map", false, "rewrite the map of rooms in "+mapPage+" and stop")
	rewrite := flag.Bool("imports", false, "rewrite "+importList+" and stop")
	sizes := flag.Bool("size", false, "print what each room and package costs in the ARMv6 program and stop")
	flag.Parse()
	t := &Tree{}
	var err error
	switch {
	case *rewrite:
		err = rewriteImports(t)
	case *drawMap:
		err = rewriteMap(t)
	case *sizes:
		err = printCosts(t, os.Stdout)
	default:
		err = runChecks(t)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

// runChecks runs every check, also after one has failed, and prints a line each.
func runChecks(t *Tree) error {
	failed := 0
	for _, c := range checks {
		problems, remark, err := c.Run(t)
		if err != nil {
			problems = append(problems, Problem(err.Error()))
		}
		if len(problems) == 0 {
			fmt.Printf("ok    %-17s %s\n", c.Name, remark)
			continue
		}
		failed++
		fmt.Printf("FAIL  %s\n", c.Name)
		for _, p := range problems {
			fmt.Printf("      %s\n", p)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(checks))
	}
	return nil
}
