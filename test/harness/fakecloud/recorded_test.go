package fakecloud

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// exchange is a request of an earlier agent and what a real openBalena API v49.0.12 answered it.
type exchange struct {
	Request struct {
		Method, Target string
		Headers        map[string]string
		Body           json.RawMessage
	}
	Answer struct {
		Status  int
		Headers map[string]string
		Body    json.RawMessage
	}
}

const (
	recordedFleet = "fleetkey"
	recordedShop  = "619334f0d803421b89fc5e994f88a6b0"
	firstDevice   = "9cebc1777c2efed389acfa1e4f395176"
	secondDevice  = "e3da8b5f0cc73492b76d0b333a45e60c"
	thirdDevice   = "3cfb285526062455464b94bdd47e6cdc"
	fourthDevice  = "816a18703bab9e2b2327298c9dcc2831"
	leftOpen      = 2 // the number of the one log stream that nobody ended; the others broke off
)

// deviceInTarget finds the uuid in what a request asks for.
var deviceInTarget = regexp.MustCompile(`[0-9a-f]{32}`)

// What a real server answered is what this one answers, byte for byte where the answer depends on the request
// alone. What somebody did in the cloud in between is done here at the same places.
func TestRecordedAnswers(t *testing.T) {
	raw, err := os.ReadFile("testdata/openbalena-v49.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct{ Exchanges []exchange }
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	c := &Cloud{FirstID: 1}
	c.Start(t)
	c.ProvisioningKey(1, recordedFleet)
	c.Learn(releasesOf(t, recorded.Exchanges))
	between := map[int]func(){
		24: func() { c.Delete(firstDevice) },
		26: func() { c.Add(secondDevice, keyOf(secondDevice), 1) },
		33: func() { c.DeleteRelease(recordedShop, "eeee5555eeee5555eeee5555eeee5555") },
		37: func() { c.Add(thirdDevice, keyOf(thirdDevice), 1) },
		43: func() { c.Add(fourthDevice, keyOf(fourthDevice), 1) },
	}
	device := firstDevice
	for i := range recorded.Exchanges {
		e := &recorded.Exchanges[i]
		if do := between[i]; do != nil {
			do()
		}
		if uuid := deviceInTarget.FindString(e.Request.Target); uuid == firstDevice || c.holds(uuid) {
			device = uuid
		}
		if e.Request.Method == "GET" && strings.HasSuffix(e.Request.Target, "/state") && e.Answer.Status == 200 {
			var served map[string]json.RawMessage
			if err := json.Unmarshal(e.Answer.Body, &served); err != nil {
				t.Fatal(err)
			}
			c.AssignText(t, device, served[device])
		}
		name := fmt.Sprintf("exchange %d, %s %s", i, e.Request.Method, e.Request.Target)
		if strings.HasSuffix(e.Request.Target, "/log-stream") {
			c.playStream(t, name, e, device, i == leftOpen)
			continue
		}
		c.play(t, name, e, device)
	}
}

// keyOf is the key of a device whose registration was not recorded.
func keyOf(uuid string) string { return "key-of-" + uuid }

func (c *Cloud) holds(uuid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byUUID(uuid) != nil
}

// releasesOf are the releases that the server took reports of, with ids in the order in which they came.
func releasesOf(t *testing.T, all []exchange) map[string]any {
	apps := map[string]any{}
	ids := 0
	for i := range all {
		if e := &all[i]; e.Request.Target != "/device/v3/state" || e.Answer.Status != 200 {
			continue
		}
		var reports map[string]any
		if err := json.Unmarshal(all[i].Request.Body, &reports); err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			for uuid, a := range object(object(r)["apps"]) {
				if apps[uuid] == nil {
					apps[uuid] = map[string]any{"id": float64(1 + len(apps)), "releases": map[string]any{}}
				}
				releases := object(object(apps[uuid])["releases"])
				for _, commit := range sorted(object(object(a)["releases"])) {
					known := object(releases[commit])
					if known == nil {
						ids++
						known = map[string]any{"id": float64(ids), "services": map[string]any{}}
						releases[commit] = known
					}
					for name, s := range object(object(object(object(a)["releases"])[commit])["services"]) {
						object(known["services"])[name] = s
					}
				}
			}
		}
	}
	return map[string]any{"apps": apps}
}

// play makes a recorded request and compares the answers.
func (c *Cloud) play(t *testing.T, name string, e *exchange, device string) {
	t.Helper()
	u, err := url.Parse(c.Origin)
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(e.Request.Target, "?")
	u.Opaque, u.RawQuery = path, query
	r := &http.Request{Method: e.Request.Method, URL: u, Header: http.Header{}, Close: e.Request.Headers["connection"] == "close"}
	for key, value := range e.Request.Headers {
		r.Header.Set(key, value)
	}
	r.Header.Set("Authorization", "Bearer "+c.keyFor(e, device))
	if body := compact(t, e.Request.Body); string(body) != "null" {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	res, err := (&http.Transport{DisableCompression: true}).RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	compare(t, name, e, res, body)
}

// keyFor is the key that a request was made with: the recorded text does not say it.
func (c *Cloud) keyFor(e *exchange, device string) string {
	if e.Request.Target == "/device/register" {
		return recordedFleet
	}
	for _, d := range c.Devices() {
		if d.UUID == device {
			return d.Key
		}
	}
	return keyOf(device)
}

func compare(t *testing.T, name string, e *exchange, res *http.Response, body []byte) {
	t.Helper()
	if res.StatusCode != e.Answer.Status {
		t.Errorf("%s: %d %q, recorded was %d", name, res.StatusCode, body, e.Answer.Status)
		return
	}
	want := compact(t, e.Answer.Body)
	if strings.HasPrefix(e.Answer.Headers["content-type"], "text/html") {
		var text string
		if err := json.Unmarshal(want, &text); err != nil {
			t.Fatal(err)
		}
		want = []byte(text)
	}
	if res.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, err = io.ReadAll(z)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if string(want) == "null" {
		want = nil
	}
	made := strings.HasSuffix(e.Request.Target, "/device_config_variable")
	if made { // it says when it was made, and as which
		want, body = unstable.ReplaceAll(want, nil), unstable.ReplaceAll(body, nil)
	}
	if !bytes.Equal(body, want) {
		t.Errorf("%s: the body is %s, recorded was %s", name, body, want)
	}
	got := map[string]string{}
	for key := range res.Header {
		got[strings.ToLower(key)] = res.Header.Get(key)
	}
	if res.Close {
		got["connection"] = "close"
	}
	got["transfer-encoding"] = strings.Join(res.TransferEncoding, ", ")
	if made {
		got["etag"] = e.Answer.Headers["etag"]
	}
	for _, key := range []string{"content-type", "content-encoding", "cache-control", "etag", "vary", "connection", "transfer-encoding"} {
		if got[key] != e.Answer.Headers[key] {
			t.Errorf("%s: %s is %q, recorded was %q", name, key, got[key], e.Answer.Headers[key])
		}
	}
}

var unstable = regexp.MustCompile(`"(created_at|modified_at)":"[-0-9T:.]+Z",|"id":[0-9]+,`)

// playStream opens a log stream, writes the recorded lines, and leaves it open or breaks it off: neither is an end
// of the body.
func (c *Cloud) playStream(t *testing.T, name string, e *exchange, device string, open bool) {
	t.Helper()
	if open {
		c.Set(func(c *Cloud) { c.StreamLife = 100 * time.Millisecond })
		defer c.Set(func(c *Cloud) { c.StreamLife = 0 })
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.Origin, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var lines string
	if err := json.Unmarshal(e.Request.Body, &lines); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, lines)
	z.Flush()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: cloud\r\n", e.Request.Target)
	for key, value := range e.Request.Headers {
		if key == "authorization" {
			value = "Bearer " + c.keyFor(e, device)
		}
		fmt.Fprintf(conn, "%s: %s\r\n", key, value)
	}
	fmt.Fprintf(conn, "\r\n%x\r\n%s\r\n", packed.Len(), packed.Bytes())
	if !open {
		conn.(*net.TCPConn).CloseWrite()
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	body, _ := io.ReadAll(res.Body)
	compare(t, name, e, res, body)
}

func compact(t *testing.T, doc json.RawMessage) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, doc); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
