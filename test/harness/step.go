package harness

import (
	"fmt"
	"strings"
)

// Steps are the steps that the supervisor began so far, each as "kind service: reason".
func (s *Supervisor) Steps() []string {
	var steps []string
	for _, line := range s.LogLines("step begins") {
		service, _ := line["service"].(string)
		steps = append(steps, fmt.Sprintf("%s %s: %s", line["step"], service, line["reason"]))
	}
	return steps
}

// CountSteps counts the Steps that begin with a text, such as their kind.
func (s *Supervisor) CountSteps(prefix string) (n int) {
	for _, step := range s.Steps() {
		if strings.HasPrefix(step, prefix) {
			n++
		}
	}
	return n
}
