package update

import (
	"context"
	"errors"
	"time"

	"resin-supervisor/update/cloud"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
)

// Deltas offers images that hold only what differs between two others, as package cloud does.
type Deltas interface {
	// Request returns the name of an image that the engine makes dst from where it has src, and a
	// token to pull it by. Its errors may be cloud.ErrNoDelta and cloud.ErrProcessing.
	Request(ctx context.Context, src, dst string, patience time.Duration) (image, token string, err error)
}

// deltaAttempts is how often a delta that the engine cannot apply is tried (docs/spec/engine.md 8.5).
const deltaAttempts = 3

// pullDelta gets an image by way of a delta. Neither id nor error means that it has to be pulled as
// a whole. An error of the connection or the registry is for a later attempt; one that the engine
// meets when it applies the delta is tried again at once, and a delta that it applies at last is
// taken (docs/spec/engine.md 8.5, D20).
func (x *executor) pullDelta(ctx context.Context, s plan.Step, percent func(int)) (id string, err error) {
	source, err := x.engine.Image(ctx, s.From.EngineID)
	if engine.IsNotFound(err) || err == nil && source.Size < tiny && source.VirtualSize < tiny {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	name, token, err := x.deltas.Request(ctx, s.From.Name, s.Image, x.settings().DeltaRequestTimeout)
	if errors.Is(err, cloud.ErrNoDelta) {
		x.log.Info().Str("image", s.Image).Err(err).Msg("image is downloaded as a whole")
		return "", nil
	}
	if err != nil {
		return "", err
	}
	ref, err := target.ParseReference(name)
	if err != nil {
		return "", err
	}
	for range deltaAttempts {
		id, err = x.pull(ctx, ref, &doc.AuthConfig{RegistryToken: token}, percent)
		if err == nil || !engine.IsStreamed(err) || engine.IsNoSpace(err) {
			return id, err
		}
		x.log.Warn().Str("image", s.Image).Err(err).Msg("delta was not applied")
	}
	return "", nil
}

// tiny is the size, in bytes, below which a source is itself a delta of the second version.
const tiny = 40
