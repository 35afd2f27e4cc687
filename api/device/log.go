package device

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"resin-supervisor/hostos"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/logs"
	"resin-supervisor/update/store"
)

// openLog builds the way of the device's log: from the containers and the agent to the cloud or to
// local listeners (docs/spec/cloud.md section 5).
func (d *Device) openLog(e *engine.Client, docs *store.Store) *logs.Pipe {
	p := logs.New(logs.Options{
		Mode: d.logMode(false, true),
		Read: func(ctx context.Context, id string, tty bool, since time.Time, fn func(logs.Output)) error {
			err := e.Logs(ctx, id, engine.LogOptions{Tty: tty, Follow: true, Since: since}, func(l engine.LogLine) {
				fn(logs.Output{Stderr: l.Stderr, At: l.At, Text: l.Text, Rest: l.Rest})
			})
			if engine.IsNotSupported(err) {
				return logs.ErrUnreadable
			}
			return err
		},
		ReadHost: func(ctx context.Context, cursor string, since time.Time, fn func(logs.Output)) error {
			return hostos.FollowUnits(ctx, d.env.Root, cursor, since, func(l hostos.UnitLine) {
				fn(logs.Output{Stderr: l.Stderr, At: l.At, Text: l.Text, Cursor: &l.Cursor})
			})
		},
		Identity: func() string { return d.logStream().key() }, Open: d.openLogStream,
		Docs: docs, Volatile: filepath.Join(d.env.Root, "run/resin-supervisor/logs.json"), Log: d.log,
	})
	d.config.Follow(p.Check)
	return p
}

// logMode says where the log goes: in local mode to who listens there, else to the cloud if it may.
func (d *Device) logMode(local, control bool) logs.Mode {
	switch {
	case local || !d.config.Get().Managed():
		return logs.ToListeners
	case control:
		return logs.ToCloud
	}
	return logs.Nowhere
}

// logStream is where the log goes and as whom.
type logStream struct{ origin, uuid, secret string }

// key tells log streams apart, empty for none.
func (s logStream) key() string {
	if s.secret == "" {
		return ""
	}
	return s.origin + " " + s.uuid + " " + s.secret
}

// logStream is empty before the device is provisioned (docs/spec/cloud.md 2.1, Q19).
func (d *Device) logStream() logStream {
	s := d.config.Get()
	if s.UUID == "" || !s.Managed() || s.RegisteredAt == 0 || s.DeviceID == 0 || s.APIKey != "" {
		return logStream{}
	}
	origin := s.LogsEndpoint
	if origin == "" {
		origin = s.APIEndpoint
	}
	return logStream{origin, s.UUID, s.DeviceAPIKey}
}

func (d *Device) openLogStream(ctx context.Context) (logs.Stream, error) {
	to := d.logStream()
	if to.key() == "" {
		return nil, errors.New("open log stream: the device is not registered")
	}
	client, err := d.client(to.origin)
	if err != nil {
		return nil, err
	}
	stream, err := client.LogStream(ctx, to.uuid, to.secret)
	if err != nil {
		return nil, err // not a nil *LogStream in the interface
	}
	return stream, nil
}
