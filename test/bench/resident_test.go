package bench

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// The size of the resident measurements.
const (
	residents = 30   // services
	starts    = 21   // of the supervisor
	requests  = 2000 // in one of the rounds of reads
	rounds    = 5
)

// resident measures a supervisor that has nothing to do: its memory, its wake-ups, its reads, its
// passes, and at last its start.
func resident(b *testing.B, t *table) {
	engine := harness.SharedEngine(b)
	proxy := harness.NewProxy(b, engine)
	images := load(b, engine, residents)
	s := harness.StartSupervisor(b, harness.Setup{Engine: engine, Socket: proxy.Socket})
	s.PostTarget(shop(images, "11111111111111111111111111111111", 1))
	s.WaitSettled(5 * time.Minute)
	idle(b, t, s, "no cloud")
	reads(b, t, s)
	passes(b, t, s, proxy)
	s.Stop()
	starting(b, t, s)
}

// idle watches the process for a window. In the 90 seconds before it connections go stale, the runtime cleans up, and the
// network of the new containers comes to rest, which the supervisor follows.
func idle(b *testing.B, t *table, s *harness.Supervisor, how string) {
	pid := s.Process().PID()
	time.Sleep(90 * time.Second)
	cpuBefore, switchesBefore := cpu(b, pid), switches(b, pid)
	time.Sleep(*window)
	used, switched := cpu(b, pid)-cpuBefore, switches(b, pid)-switchesBefore
	minutes := window.Minutes()
	rss, anon := memory(b, pid)
	what := fmt.Sprintf("idle, %d services, %s: ", residents, how)
	t.note(what+"resident", mebibytes(rss))
	add(t, what+"anonymous", anon, 5<<10, mebibytes)
	add(t, what+"context switches a minute", float64(switched)/minutes, 6, count)
	add(t, what+"processor time a minute", time.Duration(float64(used)/minutes), 5*time.Millisecond, span)
}

// reads compares GET /v1/device with GET /ping, over one connection each, in turns.
func reads(b *testing.B, t *table, s *harness.Supervisor) {
	pid := s.Process().PID()
	var ping, device, pingCPU, deviceCPU []time.Duration
	for range rounds {
		before := cpu(b, pid)
		ping = append(ping, get(b, s, "/ping"))
		middle := cpu(b, pid)
		device = append(device, get(b, s, "/v1/device"))
		pingCPU, deviceCPU = append(pingCPU, (middle-before)/requests), append(deviceCPU, (cpu(b, pid)-middle)/requests)
	}
	t.note("GET /ping", span(median(ping)))
	t.note(fmt.Sprintf("GET /v1/device, %d services", residents), span(median(device)))
	add(t, "GET /v1/device : GET /ping, time", float64(median(device))/float64(median(ping)), 2, ratio)
	add(t, "GET /v1/device : GET /ping, processor time of the supervisor", float64(median(deviceCPU))/float64(median(pingCPU)), 2, ratio)
}

// get is the time one request takes when many follow one another.
func get(b *testing.B, s *harness.Supervisor, path string) time.Duration {
	b.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: device\r\nAuthorization: Bearer " + s.Key() + "\r\n\r\n")
	r := bufio.NewReader(conn)
	begin := time.Now()
	for range requests {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		if answer.StatusCode != http.StatusOK {
			b.Fatalf("GET %s: %s", path, answer.Status)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin) / requests
}

// passes asks for an apply of the target that is reached already and counts the engine's calls.
func passes(b *testing.B, t *table, s *harness.Supervisor, proxy *harness.Proxy) {
	before := total(proxy)
	for range 10 {
		if a := s.Post("/v1/update", map[string]any{"force": true}); a.Status >= 300 {
			b.Fatalf("POST /v1/update: %d %s", a.Status, a.Body)
		}
	}
	if err := s.Settled(); err != nil {
		b.Fatal(err)
	}
	add(t, "applying a target that is reached, 10 times: engine calls", float64(total(proxy)-before), 0, count)
}

func total(proxy *harness.Proxy) int {
	sum := 0
	for n := range maps.Values(proxy.Counts()) {
		sum += n
	}
	return sum
}

// starting measures from the start of the process, with the state of all services on disk, to the
// first answered /ping.
func starting(b *testing.B, t *table, s *harness.Supervisor) {
	var used, passed []time.Duration
	for range starts {
		begin := time.Now()
		s.Launch()
		for !pings(s.Port) {
			if time.Since(begin) > 10*time.Second {
				b.Fatal("the supervisor does not answer")
			}
			time.Sleep(500 * time.Microsecond)
		}
		passed, used = append(passed, time.Since(begin)), append(used, cpu(b, s.Process().PID()))
		s.Kill()
	}
	add(t, "start to first answered /ping: own processor time", median(used), 10*time.Millisecond, span)
	t.note("start to first answered /ping: time", span(median(passed)))
}

func pings(port int) bool {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /ping HTTP/1.1\r\nHost: device\r\n\r\n"); err != nil {
		return false
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	return err == nil && answer.StatusCode == http.StatusOK
}
