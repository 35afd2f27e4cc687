package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"
)

// jail is a container whose first process the harness watches, as the start script of a host does.
type jail struct {
	engine *Engine
	id     string
	pid    int
	code   int
}

func (j *jail) signal(sig syscall.Signal) error {
	_, err := j.engine.Do(http.MethodPost, "/containers/"+j.id+"/kill?signal="+strconv.Itoa(int(sig)), nil, nil)
	return err
}

// startJail starts a container, with its output appended to a log file.
func startJail(e *Engine, id, logPath string) (*Process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	path := "/containers/" + id
	output, err := e.stream(http.MethodPost, path+"/attach?stream=1&stdout=1&stderr=1", nil)
	if err != nil {
		return nil, err
	}
	// The event has the code of the first end. A wait would tell that of a container which was restarted since.
	end, err := e.stream(http.MethodGet, "/events?filters="+url.QueryEscape(`{"container":["`+id+`"],"event":["die"]}`), nil)
	if err != nil {
		return nil, err
	}
	if _, err := e.Do(http.MethodPost, path+"/start", nil, nil); err != nil {
		return nil, err
	}
	c, err := e.Container(id)
	if err != nil {
		return nil, err
	}
	p := &Process{name: "container " + c.Name, jail: &jail{engine: e, id: id, pid: c.State.Pid, code: -1}, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer log.Close()
		_ = demultiplex(output, log, log)
		var die struct {
			Actor struct{ Attributes struct{ ExitCode string } }
		}
		if json.NewDecoder(end).Decode(&die) == nil {
			p.jail.code, _ = strconv.Atoi(die.Actor.Attributes.ExitCode)
		}
		output.Close()
		end.Close()
	}()
	return p, nil
}

// stream makes a call whose answer goes on until the engine ends it.
func (e *Engine) stream(method, path string, in any) (io.ReadCloser, error) {
	req, err := engineRequest(method, path, in)
	if err != nil {
		return nil, err
	}
	res, err := e.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 400 {
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return nil, &StatusError{res.StatusCode, string(text)}
	}
	return res.Body, nil
}

// demultiplex parts the two outputs of a container without a terminal, which come in frames of one stream.
func demultiplex(r io.Reader, out, errs io.Writer) error {
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		to := out
		if head[0] == 2 {
			to = errs
		}
		if _, err := io.CopyN(to, r, int64(head[4])<<24|int64(head[5])<<16|int64(head[6])<<8|int64(head[7])); err != nil {
			return err
		}
	}
}

// exec runs a program in a running container and waits for its end.
func (e *Engine) exec(id string, args []string, out, errs io.Writer) (code int, err error) {
	var made struct{ Id string }
	ask := map[string]any{"Cmd": args, "AttachStdout": true, "AttachStderr": true}
	if _, err := e.Do(http.MethodPost, "/containers/"+id+"/exec", ask, &made); err != nil {
		return 0, err
	}
	stream, err := e.stream(http.MethodPost, "/exec/"+made.Id+"/start", map[string]any{"Detach": false, "Tty": false})
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	if err := demultiplex(stream, out, errs); err != nil {
		return 0, err
	}
	var state struct {
		Running  bool
		ExitCode int
	}
	err = poll(10*time.Second, func() error {
		if _, err := e.Do(http.MethodGet, "/exec/"+made.Id+"/json", nil, &state); err != nil || !state.Running {
			return err
		}
		return fmt.Errorf("%q still runs", args)
	})
	return state.ExitCode, err
}
