package execute

import (
	"context"
	"errors"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/userlog"
)

func (x *Executor) createNetwork(ctx context.Context, n *compose.Network) error {
	id, warning := n.Name, ""
	err := x.users.Do(userlog.CreatingNetwork, n.Name, userlog.ShortName(n.Name), func() error {
		made, err := x.engine.CreateNetwork(ctx, &n.Doc)
		if err == nil {
			id, warning = made.Id, made.Warning
		}
		return err
	})
	err = errors.Join(err, x.watch.Inspect(ctx, observe.Network(id)))
	if have := x.store.Load().Networks[id]; have != nil && err == nil {
		x.accept("network", userlog.ShortName(n.Name), id, compose.CompareNetwork(n, have.Config), []string{warning})
	}
	return err
}

func (x *Executor) removeNetwork(ctx context.Context, name string, ids []string) error {
	var errs error
	for _, id := range ids {
		err := x.users.Do(userlog.RemovingNetwork, name, userlog.ShortName(name), func() error { return x.engine.RemoveNetwork(ctx, id) })
		errs = errors.Join(errs, err, x.watch.Inspect(ctx, observe.Network(id)))
	}
	return errs
}
