// Command demo is the app that `make run` lets the supervisor run: a page that shows what the app
// learns from the supervisor's API with the key it was given.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"time"
)

const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5"><title>resin-supervisor demo</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#222}
pre{background:#f3f3f0;padding:1rem;border-radius:6px;overflow:auto}code{background:#f3f3f0;padding:.1rem .3rem}</style></head>
<body><h1>It runs.</h1>
<p>This page comes from a container that resin-supervisor created. The container is service <code>%s</code> of
app <code>%s</code>. It asked the supervisor at <code>%s</code> about the device, with its own key, and got (status %s):</p>
<pre>%s</pre><p>Asked at %s; the page asks again every five seconds.</p></body></html>
`

func main() {
	address := ":80"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	s := http.Server{Addr: address, Handler: http.HandlerFunc(show), ReadHeaderTimeout: 5 * time.Second}
	fmt.Println("demo page on", address)
	fmt.Fprintln(os.Stderr, "demo:", s.ListenAndServe())
	os.Exit(1)
}

func show(w http.ResponseWriter, _ *http.Request) {
	base := os.Getenv("BALENA_SUPERVISOR_ADDRESS")
	status, answer := ask(base+"/v1/device", os.Getenv("BALENA_SUPERVISOR_API_KEY"))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, page, html.EscapeString(os.Getenv("BALENA_SERVICE_NAME")), html.EscapeString(os.Getenv("BALENA_APP_NAME")),
		html.EscapeString(base), html.EscapeString(status), html.EscapeString(answer), time.Now().UTC().Format(time.RFC1123))
}

// ask sends one request to the supervisor and returns the status line and the indented answer.
func ask(url, key string) (status, answer string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "none", err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+key)
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return "none", err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return resp.Status, err.Error()
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, body, "", "  ") == nil {
		body = pretty.Bytes()
	}
	return resp.Status, string(body)
}
