package execute

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/backup"
	"resin-supervisor/update/compose"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/plan"
)

// restorer names the image and the container through which the engine fills volumes. Both are empty, and the container
// never runs.
const restorer = "resin-supervisor-backup"

// restore fills the volumes of an app from the backup that the migration of the device left
// (docs/spec/cloud.md 8.3). It reads the whole file first, so that a file that cannot be used changes nothing. It removes
// the file last, when what was unpacked is on the disk: after a crash before that, it starts again.
func (x *Executor) restore(ctx context.Context, s plan.Step) error {
	names, err := x.backupNames(ctx)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", x.host.Backup, err)
	}
	helper := doc.Create{Image: restorer, Cmd: []string{"none"}, HostConfig: doc.HostConfig{NetworkMode: "none"}}
	for _, name := range names {
		volume := compose.VolumeName(s.AppID, name)
		if s.Volumes[volume] == nil {
			return errors.New("backup: " + name + " is not a volume of the release")
		}
		helper.HostConfig.Binds = append(helper.HostConfig.Binds, volume+":/"+name)
	}
	if err := x.tidy(ctx); err != nil {
		return err
	}
	for _, name := range names {
		volume := s.Volumes[compose.VolumeName(s.AppID, name)]
		if x.store.Load().Volumes[volume.Name] != nil {
			if err := x.removeVolume(ctx, volume.Name); err != nil {
				return err
			}
		}
		if err := x.createVolume(ctx, volume); err != nil {
			return err
		}
	}
	if err := x.fill(ctx, &helper); err != nil {
		return err
	}
	if err := x.tidy(ctx); err != nil {
		return err
	}
	unix.Sync()
	return file.Remove(x.host.Backup)
}

// backupNames looks through the whole backup and names the volumes in it.
func (x *Executor) backupNames(ctx context.Context) ([]string, error) {
	f, err := file.Open(x.host.Backup)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return backup.Names(z)
}

// fill unpacks the backup into the volumes that a helper has.
func (x *Executor) fill(ctx context.Context, helper *doc.Create) error {
	if err := x.engine.EmptyImage(ctx, restorer); err != nil {
		return err
	}
	if _, err := x.engine.CreateContainer(ctx, restorer, helper); err != nil {
		return err
	}
	f, err := file.Open(x.host.Backup)
	if err != nil {
		return err
	}
	defer f.Close()
	return x.engine.Unpack(ctx, restorer, f)
}

// tidy removes what fill made.
func (x *Executor) tidy(ctx context.Context) error {
	if err := x.engine.RemoveContainer(ctx, restorer, true); err != nil {
		return err
	}
	_, err := x.engine.RemoveImage(ctx, restorer, true)
	return err
}
