package logs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"resin-supervisor/hostos/file"
)

// Documents keeps durable documents by name, as package update/store does.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// positions say how far the output of each container was delivered. The next run of the agent continues there.
//
// They are saved to a file in memory one second after lines were sent. Flash memory wears out, so the durable document is
// written only if there is none yet, when the agent stops, and at most four times an hour. After a stop, no line is lost or
// sent twice. After a kill, the lines of the last second are sent twice. After a power cut, the lines since the durable
// document, of at most a quarter of an hour, are sent twice. The units of the host are listed as container hostID.
type positions struct {
	At         int64               `json:"at"` // time of saving, in nanoseconds since 1970; 0: there are no positions
	Containers map[string]progress `json:"containers"`
}

// progress says how far the output of one container was delivered.
type progress struct {
	Started int64       `json:"started"` // the start of the container
	From    int64       `json:"from"`    // output from this time on is wanted
	Outputs [2]position `json:"outputs"`
}

// position is the newest line of one output: its time, and the number of lines with that time so far. For the host it is
// the cursor of that line. The zero position is before the first line.
type position struct {
	At     int64  `json:"t"`
	N      int    `json:"n"`
	Cursor string `json:"c,omitempty"`
}

const (
	positionsName    = "logs"
	positionsVersion = 1
	saveAfter        = time.Second
	saveDurably      = 15 * time.Minute
)

// load returns the newer one of the file and the document.
func (o *Options) load() positions {
	var durable, recent positions
	if _, err := o.Docs.Load(positionsName, positionsVersion, &durable); err != nil {
		o.Log.Warn().Err(err).Msg("cannot load how far logs were sent, lines written while the supervisor was stopped may be lost")
	}
	raw, err := file.Read(o.Volatile, file.Large)
	if err == nil && json.Unmarshal(raw, &recent) == nil && recent.At > durable.At {
		return recent
	}
	return durable
}

// store writes the file, and the document if durably is set or the file cannot be written.
func (o *Options) store(p positions, durably bool) {
	if o.Volatile != "" {
		raw, err := json.Marshal(p)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(o.Volatile), 0o755)
		}
		if err == nil {
			err = file.Write(o.Volatile, raw, 0o600)
		}
		durably = durably || err != nil
	}
	if !durably {
		return
	}
	if err := o.Docs.Save(positionsName, positionsVersion, p); err != nil {
		o.Log.Warn().Err(err).Msg("cannot save how far logs were sent, lines may be lost or sent twice after a restart")
	}
}
