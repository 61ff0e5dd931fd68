package localcloud

import (
	"context"
	"errors"
	"testing"
)

func TestRollsEndTogether(t *testing.T) {
	t.Parallel()
	var r rolls
	_, endData := r.begin(t.Context())
	mains, endMains := r.begin(t.Context())
	if mains.Err() != nil {
		t.Fatal("nothing has failed yet")
	}
	failed := errors.New("stopped, because the data nodes have failed")
	endData(failed)
	<-mains.Done()
	if got := context.Cause(mains); got != failed {
		t.Errorf("the other group stops because of %v, want %v", got, failed)
	}
	late, endLate := r.begin(t.Context())
	<-late.Done()
	if got := context.Cause(late); got != failed {
		t.Errorf("one that comes later stops because of %v, want %v", got, failed)
	}
	endMains(failed)
	endLate(failed)
	again, end := r.begin(t.Context())
	defer end(nil)
	if again.Err() != nil {
		t.Errorf("the next run is stopped by the one before: %v", context.Cause(again))
	}
}
