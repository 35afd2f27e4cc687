package bench

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

const (
	lines    = 50000 // that are forwarded
	lineSize = 100   // bytes of a line
	words    = "GET POST /api/v1/items /api/v1/users 200 201 304 404 in 12 34 5 ms from 10.0.0.7 10.0.0.9 client session " +
		"opened closed queue length job done retry sensor reading temperature 21.5 22.0 humidity 48 battery ok low warning"
)

// forwarding measures what the log of the services costs: the memory to follow all of them, and the
// processor time to send a flood of lines over TLS. The flood is written while the supervisor is
// stopped, so that it reads and sends as fast as it can, and drops nothing.
func forwarding(b *testing.B, t *table) {
	engine := harness.SharedEngine(b)
	images := load(b, engine, residents)
	following(b, t, harness.Setup{Engine: engine}, shop(images, "22222222222222222222222222222222", 2))

	cloud := &fakecloud.Cloud{}
	target := shop(images[:1], "33333333333333333333333333333333", 3)
	s := harness.NewSupervisor(b, harness.Setup{Engine: engine, Cloud: cloud, Apps: target.V3(), Config: map[string]any{"appUpdatePollInterval": 900000}})
	s.Assign(target)
	s.Start()
	s.WaitSettled(time.Minute)
	arrived(b, cloud, 1)
	s.Stop()
	before := len(cloud.Logs())
	harness.MustAsk(b, s.Containers()["s00"], http.MethodPost, fmt.Sprintf("/print?n=%d&text=line&size=%d&words=%s", lines, lineSize, url.QueryEscape(words)), "")
	s.Start()
	pid := s.Process().PID()
	arrived(b, cloud, before+2) // the stream has begun to flow
	from, used, began := len(cloud.Logs()), cpu(b, pid), time.Now()
	arrived(b, cloud, before+lines)
	n, used := len(cloud.Logs())-from, cpu(b, pid)-used
	rate := float64(n) / used.Seconds()
	t.note(fmt.Sprintf("log lines of %d bytes to the cloud, a second of processor time", lineSize), fmt.Sprintf("%.0f", rate))
	t.note("the same, a second of the clock", fmt.Sprintf("%.0f", float64(n)/time.Since(began).Seconds()))
	body, _ := cloud.Streams()[len(cloud.Streams())-1].Body()
	size := 0
	for _, l := range cloud.Logs()[before:] {
		size += len(l.Raw) + 1
	}
	t.note("their size, compared with what was sent of it", ratio(float64(size)/float64(body)))
	_, anon := memory(b, pid)
	t.note("anonymous memory after it", mebibytes(anon))
}

// arrived waits until n lines are in the cloud.
func arrived(b *testing.B, cloud *fakecloud.Cloud, n int) {
	b.Helper()
	harness.Until(b, 3*time.Minute, "lines in the cloud", func() error {
		if got := len(cloud.Logs()); got < n {
			return fmt.Errorf("%d of %d are there", got, n)
		}
		return nil
	})
}

// following measures the memory that it takes to follow all services for a local listener.
func following(b *testing.B, t *table, setup harness.Setup, target harness.Target) {
	s := harness.StartSupervisor(b, setup)
	s.PostTarget(target)
	s.WaitSettled(5 * time.Minute)
	s.Restart() // without what the apply left behind
	s.WaitSettled(time.Minute)
	_, before := memory(b, s.Process().PID())
	req, err := http.NewRequest(http.MethodGet, s.URL("/v2/local/logs"), nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Key())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	heard := bufio.NewScanner(res.Body)
	for i := range residents {
		name := fmt.Sprintf("s%02d", i)
		harness.MustAsk(b, s.Containers()[name], http.MethodPost, "/print?n=1&text=line", "")
	}
	for n := 0; n < residents+1 && heard.Scan(); n++ {
	}
	_, after := memory(b, s.Process().PID())
	t.note(fmt.Sprintf("anonymous memory to follow the log of %d services", residents), mebibytes(after-before))
	s.Stop()
	s.Engine.Wipe(b)
}
