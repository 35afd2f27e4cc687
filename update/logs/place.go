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

// places say how far the output of each container was delivered, so that the next run of the agent
// goes on there. They are saved in a file in memory a second after lines were sent, and in a durable
// document when there is none yet, when the agent stops, and else four times an hour at most, since
// flash memory wears. So a stop loses and repeats nothing; a kill repeats the lines of the last second;
// a power cut, after which the containers start anew, repeats those since the durable document, of a
// quarter of an hour at most. The units of the host are among the containers, as hostID.
type places struct {
	At         int64            `json:"at"` // when they were saved, in nanoseconds since 1970; 0: they say nothing
	Containers map[string]place `json:"containers"`
}

// place is how far one container was delivered.
type place struct {
	Started int64   `json:"started"` // when its present run began
	From    int64   `json:"from"`    // from when on its output is wanted
	Outputs [2]spot `json:"outputs"`
}

// spot is a place in one output: the time of the newest line and how many lines of that time there
// were. For the host it has the cursor of the newest line instead. The zero spot is before the first line.
type spot struct {
	At     int64  `json:"t"`
	N      int    `json:"n"`
	Cursor string `json:"c,omitempty"`
}

const (
	placesName    = "logs"
	placesVersion = 1
	saveAfter     = time.Second
	saveDurably   = 15 * time.Minute
)

// load reads the newer one of both files.
func (o *Options) load() places {
	var durable, recent places
	if _, err := o.Docs.Load(placesName, placesVersion, &durable); err != nil {
		o.Log.Warn().Err(err).Msg("places in the output of containers were not read")
	}
	if raw, err := file.Read(o.Volatile, file.Large); err == nil && json.Unmarshal(raw, &recent) == nil && recent.At > durable.At {
		return recent
	}
	return durable
}

// store writes one or both files.
func (o *Options) store(p places, durably bool) {
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
	if err := o.Docs.Save(placesName, placesVersion, p); err != nil {
		o.Log.Warn().Err(err).Msg("places in the output of containers were not saved")
	}
}
