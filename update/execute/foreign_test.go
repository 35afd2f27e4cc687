package execute

import (
	"errors"
	"strings"
	"testing"

	"resin-supervisor/update/engine"
)

// A program for another processor is said to be that (docs/spec/engine.md 1.7); other errors stay as they are.
func TestForeignProgram(t *testing.T) {
	for _, status := range []int{400, 500} {
		e := &engine.Error{Op: "start container", Object: "c", Status: status, Message: `exec: "/main": exec format error`}
		err := foreign(e, "raspberrypi3")
		if !errors.Is(err, e) || !strings.HasPrefix(err.Error(), "application architecture incompatible with device type raspberrypi3: ") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if other := errors.New("port is taken"); foreign(other, "x") != other || foreign(nil, "x") != nil {
		t.Error("another error was changed")
	}
}
