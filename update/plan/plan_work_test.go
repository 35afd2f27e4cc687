package plan

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// planServices is the environment variable that makes the test binary plan for this many services and do nothing else.
const planServices = "PLAN_SERVICES"

// The work of planning grows with the services, not with the pairs of services: for 600 services no statement runs
// more than ten times as often as for 60. The test counts statements and does not measure time.
func TestPlanningWorkGrowsLinearly(t *testing.T) {
	if raceDetector {
		t.Skip("the statements are counted in a program without the race detector")
	}
	if text := os.Getenv(planServices); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		planAll(n)
		return
	}
	program := filepath.Join(t.TempDir(), "counting")
	build := exec.Command(filepath.Join(runtime.GOROOT(), "bin", "go"), "test", "-c", "-o", program, "-covermode=count", "-coverpkg=./,../compose,../current", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	few, many := counts(t, program, 60), counts(t, program, 600)
	for where, n := range many {
		if n > 11*few[where]+1000 {
			t.Errorf("%s: %d times for 600 services, %d times for 60", where, n, few[where])
		}
	}
	if len(many) < 100 {
		t.Errorf("only %d statements were counted", len(many))
	}
}

func planAll(n int) {
	for _, s := range situations {
		w := benchWorld(n)
		s.prepare(w)
		Next(w.cur, w.resolve(), w.opts)
		images := w.cur.Finder() // as the target is resolved
		for _, a := range w.target.Apps {
			for _, s := range a.Release.Services {
				images.Find(s.Image)
			}
		}
	}
}

// counts is how often each statement of the planner and its callees runs for this many services.
func counts(t *testing.T, program string, services int) map[string]int {
	t.Helper()
	profile := program + ".profile"
	cmd := exec.Command(program, "-test.run", "^"+t.Name()+"$", "-test.coverprofile="+profile)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", planServices, services))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // file:from,to statements count
		if len(fields) == 3 {
			found[fields[0]], _ = strconv.Atoi(fields[2])
		}
	}
	return found
}
