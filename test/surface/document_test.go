package surface_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// example is a command of docs/API.md and what is said to come back.
type example struct {
	endpoint string // "GET /ping": the heading it stands under
	cloud    bool   // on a device of a cloud
	command  string
	status   int
	body     string
}

// document reads the examples of docs/API.md: console blocks of commands, each with its answer below.
func document(t *testing.T) (all []example) {
	t.Helper()
	text, err := os.ReadFile("../../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	endpoint, kind := "", ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		fence, isFence := strings.CutPrefix(line, "```")
		title, isTitle := strings.CutPrefix(line, "### ")
		command, isCommand := strings.CutPrefix(line, "$ ")
		last := len(all) - 1
		switch {
		case isFence:
			kind = fence
		case isTitle:
			endpoint = title
		case !strings.HasPrefix(kind, "console"):
		case isCommand:
			all = append(all, example{endpoint: endpoint, cloud: kind == "console cloud", command: command})
		case all[last].status > 0:
			all[last].body += "\n" + line
		case line[0] >= '0' && line[0] <= '9':
			status, body, _ := strings.Cut(line, " ")
			all[last].status, _ = strconv.Atoi(status)
			all[last].body = body
		default:
			all[last].command += "\n" + line
		}
	}
	if len(all) < 40 {
		t.Fatalf("%d examples were found", len(all))
	}
	return all
}

// isLast tells whether a device does nothing any more after the example.
func (e example) isLast() bool {
	return strings.HasSuffix(e.endpoint, "/reboot") || strings.HasSuffix(e.endpoint, "/shutdown")
}

// isEndless tells whether the answer has no end of its own.
func (e example) isEndless() bool { return strings.Contains(e.command, "--max-time") }

// run runs the example as it stands in the document. The answer's status and content type come from
// the last curl of the command.
func (e example) run(t *testing.T, s *harness.Supervisor) (status int, kind, body string) {
	t.Helper()
	at := strings.LastIndex(e.command, "curl ") + len("curl ")
	command := e.command[:at] + `-sS --max-time 60 -w '\n%{http_code} %{content_type}' ` + e.command[at:]
	cmd := exec.Command("bash", "-o", "pipefail", "-c", command)
	cmd.Env = append(os.Environ(), "ADDR="+strings.TrimSuffix(s.URL(""), "/"), "KEY="+s.Key(), "APP="+strconv.Itoa(appID))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !(e.isEndless() && cmd.ProcessState.ExitCode() == 28) {
		t.Fatalf("%s\n%s: %v: %s", e.endpoint, e.command, err, errs.String())
	}
	text := out.String()
	at = strings.LastIndex(text, "\n")
	word, kind, _ := strings.Cut(text[at+1:], " ")
	status, err := strconv.Atoi(word)
	if err != nil {
		t.Fatalf("%s\n%s answers %q", e.endpoint, e.command, text)
	}
	return status, kind, text[:at]
}

// check holds an answer against the document.
func (e example) check(status int, kind, body string) error {
	if status != e.status {
		return fmt.Errorf("status is %d, the document says %d", status, e.status)
	}
	if !strings.HasPrefix(e.body, "{") {
		return checkText(e.body, kind, body)
	}
	if !strings.Contains(kind, "json") {
		return fmt.Errorf("content type is %q", kind)
	}
	var want, got any
	if err := json.Unmarshal([]byte(e.body), &want); err != nil {
		return fmt.Errorf("the document: %w", err)
	}
	if e.isEndless() {
		body, _, _ = strings.Cut(body, "\n")
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		return err
	}
	return sameShape("answer", want, got)
}

// checkText compares text; a text in angle brackets stands for any.
func checkText(want, kind, got string) error {
	isAny := strings.HasPrefix(want, "<") && got != ""
	switch {
	case got != want && !isAny:
		return fmt.Errorf("body is %q, the document says %q", got, want)
	case got != "" && !strings.HasPrefix(kind, "text/plain"):
		return fmt.Errorf("content type is %q", kind)
	}
	return nil
}

// sameShape compares types and fields. A field named "..." allows any other beside those that are
// named, and a value "..." is any; null is of every type.
func sameShape(at string, want, got any) error {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v, not an object", at, got)
		}
		_, open := w["..."]
		for _, name := range slices.Sorted(maps.Keys(g)) {
			if _, said := w[name]; !said && !open {
				return fmt.Errorf("%s.%s is not in the document", at, name)
			}
		}
		for name := range w {
			if _, there := g[name]; !there && name != "..." {
				return fmt.Errorf("%s.%s is in the document only", at, name)
			}
			if name != "..." {
				if err := sameShape(at+"."+name, w[name], g[name]); err != nil {
					return err
				}
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(w) > 0 && len(g) == 0 {
			return fmt.Errorf("%s is %v, not a list of something", at, got)
		}
		if len(w) > 0 {
			return sameShape(at+"[0]", w[0], g[0])
		}
	default:
		if want != nil && got != nil && want != "..." && fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			return fmt.Errorf("%s is %v, the document says %v", at, got, want)
		}
	}
	return nil
}

// home is the device of the document: an app of one service on a host with a network, a message bus
// and a journal.
func home(t *testing.T, setup harness.Setup) *harness.Supervisor {
	t.Helper()
	for _, command := range []string{"ip link add eth7 type veth peer name eth8", "ip addr add 192.168.7.9/24 dev eth7", "ip link set eth7 up", "ip link set eth8 up"} {
		harness.RunTool(t, "sh", "-c", command)
	}
	t.Cleanup(func() { harness.TryTool("ip", "link", "del", "eth7") })
	setup.Bus = harness.NewBus(t)
	s := harness.NewSupervisor(t, setup)
	write := s.Journal()
	s.Start()
	write("probe", "hello")
	return s
}

// single is app 31 with one service.
func single(t *testing.T) harness.Target {
	target := shop(t)
	target.Name = "holy-moon"
	app := &target.Apps[0]
	app.Services = app.Services[:1]
	app.Services[0] = app.Services[0].Setting("FOO", "bar")
	return target
}

// Every command of the document does what is said: each is run against a real engine.
func TestDocument(t *testing.T) {
	s := home(t, harness.Setup{})
	s.Apply(single(t))
	try := func(e example) {
		t.Helper()
		status, kind, body := e.run(t, s)
		if err := e.check(status, kind, body); err != nil {
			t.Errorf("%s\n%s\n%v\n%.2000s", e.endpoint, e.command, err, body)
		}
	}
	var last []example
	for _, e := range document(t) {
		switch {
		case e.cloud:
		case e.isLast():
			last = append(last, e)
		default:
			try(e)
			s.ForgetKey()
		}
	}
	for _, e := range last {
		s.Restart() // the device that goes down begins again
		s.WaitListed()
		try(e)
	}
}

// The commands that need a cloud.
func TestDocumentOfADeviceOfACloud(t *testing.T) {
	s := home(t, harness.Setup{Cloud: &fakecloud.Cloud{}})
	s.Cloud().Change(s.UUID, func(d *fakecloud.Device) { d.Tags = map[string]string{"site": "south"} })
	n := 0
	for _, e := range document(t) {
		if !e.cloud {
			continue
		}
		n++
		harness.Until(t, harness.Soon, e.endpoint, func() error { return e.check(e.run(t, s)) })
	}
	if n < 2 {
		t.Errorf("%d examples", n)
	}
}

// docs/spec/device-api.md 4: 151. While the engine fails, every endpoint answers, and the process lives on.
func TestEveryEndpointAnswersWithoutAnEngine(t *testing.T) {
	s := home(t, harness.Setup{WithProxy: true})
	pid := s.Process().PID()
	all := func(when string) {
		t.Helper()
		for _, e := range document(t) {
			if e.isLast() {
				continue
			}
			status, _, body := e.run(t, s)
			s.ForgetKey()
			if status < 200 || status > 599 || status == 404 || status == 405 {
				t.Errorf("%s: %s answers %d %s", when, e.endpoint, status, body)
			}
			if err := s.Alive(); err != nil || s.Process().PID() != pid {
				t.Fatalf("%s: after %s: %v", when, e.endpoint, err)
			}
		}
	}
	s.Apply(single(t))
	s.Proxy.Spoil("*", harness.Fail, 0, -1)
	all("the engine fails")
	s.Proxy.Cut()
	all("the engine's events are cut off")
	s.Proxy.Heal()
	harness.Until(t, harness.Soon, "the target after the faults", s.Matches)

	s.Stop()
	s.Proxy.Spoil("*", harness.Reset, 0, -1)
	s.Start()
	pid = s.Process().PID()
	all("the engine never answered")
	for _, e := range document(t) {
		if e.isLast() {
			if status, _, body := e.run(t, s); status < 200 || status > 599 {
				t.Errorf("%s answers %d %s", e.endpoint, status, body)
			}
		}
	}
	if err := s.Alive(); err != nil {
		t.Error(err)
	}
}
