/* Lock, lease, fence and refence of Haven (docs/ha-protocol.md), as a model for spin.
 *
 * Two nodes and one register that clients read and write, for ever: lapsed leases, expired
 * checks, moves of the lock, reads and writes are unlimited. What is bounded is the number of
 * faults (FAULTS: crash or resignation, session destroyed, lock freed by an operator, spare
 * given up, outcome unknown) and of sessions that matter at one time (POOL): one that has ended
 * and that nothing refers to any more gives its place back. At most one write and one lock
 * transaction of unknown outcome are on their way at a time.
 *
 * Every step is one atomic event. Time is abstract: a lease may lapse at any moment, and the
 * clock makes two promises only. A check cannot run out while a lease that rests on it holds
 * (BOUNDS_LEASE), and an owed wait outlasts every lease that is older. What turns seconds into
 * these promises is simulated (tests/simulation), not modelled.
 *
 * A mutant is this model with one rule left out: spin -DNO_FENCE and so on. Each must fail;
 * tests/model/test_model.py runs them all.
 */

#ifndef POOL
#define POOL 3
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#define NODES 2
#define NOBODY 0

/* What Consul knows of a session and its check */
#define GONE 0      /* never made, or forgotten: the place is free */
#define SOUND 1     /* session alive, check passing */
#define EXPIRED 2   /* the check ran out, the session ends soon */
#define ENDED 3     /* session destroyed (by hand, serfHealth), check not run out */
#define RAN_OUT 4   /* session ended and check critical with `TTL expired` */

/* What a node's cache holds, beside what clients were shown or promised */
#define EMPTY 0
#define FRESH 1
#define STALE 2

/* Consul ------------------------------------------------------------------- */
byte session[POOL + 1];
byte owner[POOL + 1];          /* the node that made it */
bool over[POOL + 1];           /* its run has ended, or resigned: it answers no more under it */
byte holder = NOBODY;          /* the session that holds the lock */
byte recorded = NOBODY;        /* the session that the lock's value names; NOBODY: no lock yet */
bool owes, released;           /* the value's owes_wait; its holder freed the lock itself */
bool ahead;                    /* storage holds a write that no client was shown or promised */

/* Nodes -------------------------------------------------------------------- */
byte tenure[NODES];            /* the session that fences its writes; its check bounds the lease */
bool lease[NODES];
byte caps[NODES];              /* the sessions that refences were sent for, as bits: they bound it too */
bool waits[NODES];             /* a lease before its own may still run */
bool doubt[NODES];
byte spare[NODES];             /* the session that it would offer next */
byte cache[NODES];

/* A write on its way whose outcome its sender does not know; one at a time */
byte flying;                   /* the session in its fence */
bool landed;                   /* it was applied, and is not settled */
bool told_failed;              /* the client was told that it did not happen */

/* A lock transaction on its way, likewise */
bool moving;
byte move_old;                 /* the holder that it replaces; NOBODY: the lock as it is, free */
byte move_new;                 /* the session that it locks; NOBODY: it only frees */
bool move_owes;

byte faults;                   /* so many so far */
#define may_fail (faults < FAULTS)

#ifdef UNCONDITIONAL
bool saw_expired[NODES];
#endif
#ifdef REUSED_CHECK_ID
bool ran_out_before[NODES];
#endif

#define me _pid
#define peer (1 - me)
#define alive(s) (session[s] == SOUND || session[s] == EXPIRED)
#define answers(i) (tenure[i] != NOBODY && lease[i] && !waits[i])
#define mine(s) (s != NOBODY && owner[s] == me && !over[s])
#define capped(i, s) ((caps[i] >> s) & 1)
#define unsettled (flying != NOBODY && flying == tenure[me] && !told_failed)

#ifdef LEASE_FROM_REPLY
#define BOUNDS_LEASE(i, s) false
#else
#ifdef UNCAPPED_LEASE
#define BOUNDS_LEASE(i, s) (lease[i] && tenure[i] == s)
#else
#define BOUNDS_LEASE(i, s) (lease[i] && (tenure[i] == s || capped(i, s)))
#endif
#endif

#ifdef NO_FENCE
#define fence(s) true
#else
#define fence(s) (holder == s)
#endif

#ifdef FORGET_OWED_WAIT
#define inherited false
#else
#define inherited owes
#endif

#ifdef AT_ONCE
#define unproved false
#else
#define unproved true
#endif

/* Roads to the lock that let the taker answer at once (DESIGN.md 3.4), but for an inherited wait */
#define first (recorded == NOBODY)
#define vacated (holder == NOBODY && (released || mine(recorded)))
#define death_or_resign over[recorded]
#ifdef PICK_UP_ANY_FREE_LOCK
#define fell (holder == NOBODY && !first)
#else
#define fell (holder == NOBODY && !first && mine(recorded) && !released)    /* nobody has held it since (ADR 7) */
#endif
#define surprise (holder != NOBODY && mine(holder) && holder != spare[me])
#ifdef TRUST_ANY_CRITICAL
#define expiry (holder == NOBODY && session[recorded] != SOUND)
#else
#ifdef REUSED_CHECK_ID
#define expiry (holder == NOBODY && (session[recorded] == EXPIRED || session[recorded] == RAN_OUT || \
                                     ran_out_before[owner[recorded]]))
#else
#define expiry (holder == NOBODY && (session[recorded] == EXPIRED || session[recorded] == RAN_OUT))
#endif
#endif
#ifdef TIMEOUT_IS_DEATH
#define silence (holder != NOBODY && owner[holder] != me)
#else
#define silence false
#endif
#define at_once (first || vacated || death_or_resign || surprise || expiry || silence)

/* Forget what can have no effect any more, so that equal situations are equal states */
inline tidy_node(i) {
    if
    :: tenure[i] == NOBODY -> lease[i] = false; waits[i] = false; doubt[i] = false
    :: else
    fi;
    if
    :: spare[i] != NOBODY && session[spare[i]] != SOUND -> spare[i] = NOBODY
    :: else
    fi;
    if
    :: !lease[i] -> caps[i] = 0
    :: else
    fi;
}

#define refers(i, s) (tenure[i] == s || spare[i] == s || capped(i, s))

inline tidy_messages() {
    if
    :: landed && tenure[0] != flying && tenure[1] != flying -> landed = false; flying = NOBODY
    :: else
    fi;
#ifndef NO_FENCE
    if
    :: flying != NOBODY && !landed && !alive(flying) &&
       (told_failed || tenure[0] != flying && tenure[1] != flying) ->
        flying = NOBODY; told_failed = false
    :: else
    fi;
#endif
    if
    :: moving && (move_old != NOBODY && !alive(move_old) || move_new != NOBODY && !alive(move_new)) ->
        moving = false
    :: else
    fi;
    if
    :: !moving -> move_old = NOBODY; move_new = NOBODY; move_owes = false
    :: else
    fi
}

inline tidy_session(s) {
    if
    :: session[s] >= ENDED && recorded != s && !refers(0, s) && !refers(1, s) &&
       flying != s && move_old != s && move_new != s ->
        session[s] = GONE; owner[s] = 0; over[s] = false
    :: else
    fi
}

inline tidy() {
    d_step {
        tidy_node(0);
        tidy_node(1);
        tidy_messages();
        tidy_session(1);
        tidy_session(2);
        tidy_session(3);
#if POOL >= 4
        tidy_session(4);
#endif
#if POOL >= 5
        tidy_session(5);
#endif
    }
}

/* The lock has changed: what was conditional on it as it was, free, is refused */
inline changed() {
#ifdef NO_CHECK_INDEX
    skip
#else
    if :: moving && move_old == NOBODY -> moving = false :: else fi
#endif
}

inline lock(s, owing) {
    holder = s;
    recorded = s;
    owes = owing;
    released = false;
    changed()
}

inline free(of_own_will) {
    holder = NOBODY;
    released = of_own_will;
    changed()
}

/* Begin a reign under the spare session. Its chain is sound only while its check has not run out */
inline begin(waiting) {
    tenure[me] = spare[me];
    spare[me] = NOBODY;
    lease[me] = (session[tenure[me]] == SOUND);
    waits[me] = waiting;
    doubt[me] = false;
    caps[me] = 0
}

inline lose() {
    tenure[me] = NOBODY;
    lease[me] = false;
    caps[me] = 0;
#ifndef KEEP_CACHE
    cache[me] = EMPTY
#endif
}

inline shown() {               /* clients know now what storage holds */
    if
    :: ahead ->
        ahead = false;
        if :: cache[peer] == FRESH -> cache[peer] = STALE :: else fi;
        if :: cache[me] == FRESH -> cache[me] = STALE :: else fi
    :: else
    fi
}

/* Read what became of the write, and tell its client */
inline settle() {
    if
    :: landed && flying == tenure[me] -> landed = false; flying = NOBODY; shown(); cache[me] = EMPTY
    :: !landed && unsettled -> told_failed = true
    :: else
    fi
}

/* A refence has committed: the reign goes on under what was the spare session */
inline refenced() {
    settle();
#ifdef REOFFERS_SESSION
    spare[me] = tenure[me];
#else
    spare[me] = NOBODY;
#endif
    tenure[me] = holder;
    lease[me] = (session[holder] == SOUND);
    doubt[me] = false;
    caps[me] = 0
}

inline send(old, new, owing) {
    moving = true;
    move_old = old;
    move_new = new;
    move_owes = owing
}

inline end_run() {             /* a crash, or a resignation: none of its sessions answers again */
    if :: owner[1] == me && session[1] != GONE -> over[1] = true :: else fi;
    if :: owner[2] == me && session[2] != GONE -> over[2] = true :: else fi;
    if :: owner[3] == me && session[3] != GONE -> over[3] = true :: else fi;
#if POOL >= 4
    if :: owner[4] == me && session[4] != GONE -> over[4] = true :: else fi;
#endif
#if POOL >= 5
    if :: owner[5] == me && session[5] != GONE -> over[5] = true :: else fi;
#endif
#ifndef RESIGNS_BUT_FOR_THE_SPARE
    spare[me] = NOBODY;
#endif
    lose();
#ifdef UNCONDITIONAL
    saw_expired[me] = false;
#endif
    tidy()
}

inline make(s) {
    session[s] = SOUND;
    owner[s] = me;
    spare[me] = s;
    tidy()
}

/* Is a place for another session free? */
#define room (session[1] == GONE || session[2] == GONE || session[3] == GONE || session[POOL] == GONE)

active [NODES] proctype node() {
end:
    do
    /* Sessions: always fresh ones; one whose chain broke is given up */
    :: atomic { spare[me] == NOBODY && room ->
        if
        :: session[1] == GONE -> make(1)
        :: session[1] != GONE && session[2] == GONE -> make(2)
        :: session[1] != GONE && session[2] != GONE && session[3] == GONE -> make(3)
#if POOL >= 4
        :: session[1] != GONE && session[2] != GONE && session[3] != GONE && session[4] == GONE -> make(4)
#endif
#if POOL >= 5
        :: session[1] != GONE && session[2] != GONE && session[3] != GONE && session[4] != GONE &&
           session[5] == GONE -> make(5)
#endif
        fi }
    :: atomic { spare[me] != NOBODY && may_fail ->
        faults++;
        if :: capped(me, spare[me]) -> lease[me] = false :: else fi;   /* doubted already */
        spare[me] = NOBODY;
        tidy() }

    /* Take the lock. Each transaction is conditional on what was seen; some are applied later */
    :: atomic { tenure[me] == NOBODY && spare[me] != NOBODY && at_once ->
        if
        :: lock(spare[me], inherited); begin(inherited)
        :: !moving && may_fail -> faults++; send(holder, spare[me], inherited)
        fi;
        tidy() }
    :: atomic { tenure[me] == NOBODY && spare[me] != NOBODY && holder == NOBODY && !first ->
        if
        :: lock(spare[me], unproved); begin(unproved)
        :: !moving && may_fail -> faults++; send(NOBODY, spare[me], unproved)
        fi;
        tidy() }
    /* It was handed over, or an own transaction came through late */
    :: atomic { tenure[me] == NOBODY && spare[me] != NOBODY && holder == spare[me] ->
        begin(inherited); tidy() }
#ifdef UNCONDITIONAL
    :: atomic { tenure[me] == NOBODY && expiry -> saw_expired[me] = true }
    :: atomic { saw_expired[me] && tenure[me] == NOBODY && spare[me] != NOBODY ->
        saw_expired[me] = false; lock(spare[me], inherited); begin(inherited); tidy() }
#endif

    /* An owed wait is over when no older lease can run: one check TTL is enough */
    :: atomic { waits[me] && !lease[peer] -> waits[me] = false }
#ifdef WRITES_WHILE_WAITING
    :: atomic { tenure[me] != NOBODY && waits[me] && holder == tenure[me] -> ahead = true; shown() }
#endif

    /* Heartbeat: the consistent read */
    :: atomic { tenure[me] != NOBODY && holder != tenure[me] ->
        if
        :: holder != NOBODY && holder == spare[me] -> refenced()
        :: else ->
            if
            :: mine(holder) || fell -> doubt[me] = true
#ifdef NO_CONSISTENT_READ
            :: !mine(holder) && alive(tenure[me]) -> lease[me] = (session[tenure[me]] == SOUND)
            :: !mine(holder) && !fell && !alive(tenure[me]) -> lose()
#else
            :: !mine(holder) && !fell -> lose()
#endif
            fi
        fi;
        tidy() }
#ifdef EXTEND_LAPSED
    :: atomic { tenure[me] != NOBODY && holder == tenure[me] -> lease[me] = true }
#endif
#ifdef NO_CONSISTENT_READ
    :: atomic { tenure[me] != NOBODY && session[tenure[me]] != EXPIRED && session[tenure[me]] != RAN_OUT ->
        lease[me] = true }
#endif
    :: atomic { lease[me] -> lease[me] = false; doubt[me] = true; tidy() }

    /* Refence: move the lock from an own doubtful session, or pick it up where that has ended, to the
       spare one. Another try may be on its way still: its condition cannot be met any more (ADR 8) */
    :: atomic { doubt[me] && spare[me] != NOBODY && (mine(holder) && holder != spare[me] || fell) ->
        if
        :: lock(spare[me], waits[me]); refenced()
        :: !moving && may_fail ->
            faults++;
            send(holder, spare[me], waits[me]);
#ifndef UNCAPPED_LEASE
            caps[me] = caps[me] | (1 << spare[me]);
            lease[me] = (lease[me] && session[spare[me]] == SOUND)
#endif
        fi;
        tidy() }

    /* Hand-over and release: the term ends before the transaction is sent */
    :: atomic { tenure[me] != NOBODY && holder == tenure[me] ->
        if
        :: owes = waits[me]; free(true); lose()
        :: tenure[peer] == NOBODY && spare[peer] != NOBODY -> lock(spare[peer], waits[me]); lose()
        :: !moving && may_fail ->
            faults++;
            if
            :: send(holder, NOBODY, waits[me])
            :: tenure[peer] == NOBODY && spare[peer] != NOBODY -> send(holder, spare[peer], waits[me])
            fi;
#ifndef GOES_ON_AFTER_HAND_OVER
            lose()
#endif
        fi;
        tidy() }

    /* A lock transaction is applied after all; or never */
    :: atomic { me == 0 && moving ->
        if
        :: holder == move_old && move_new == NOBODY -> owes = move_owes; free(true)
        :: holder == move_old && move_new != NOBODY -> lock(move_new, move_owes)
        :: true
        fi;
        moving = false;
        tidy() }

    /* Clients: whoever answers is alone, and shows nothing older than what clients know */
    :: atomic { answers(me) ->
        if
        :: cache[me] == EMPTY -> shown(); if :: unsettled :: else -> cache[me] = FRESH fi
        :: else
        fi;
        assert(cache[me] != STALE);
        assert(!answers(peer)) }
    :: atomic { answers(me) && !doubt[me] ->
        if
        :: fence(tenure[me]) -> ahead = true; shown(); cache[me] = FRESH
        :: !fence(tenure[me]) -> doubt[me] = true
        :: flying == NOBODY && may_fail -> faults++; flying = tenure[me]; cache[me] = EMPTY;
#ifdef UNKNOWN_IS_FAILED
            told_failed = true;
#endif
#ifdef GOES_ON_UNDER_OLD_SESSION
            skip
#else
            doubt[me] = true
#endif
        fi }
#ifdef GOES_ON_UNDER_OLD_SESSION
    :: atomic { unsettled -> settle(); tidy() }
#endif
    :: atomic { me == 0 && flying != NOBODY && !landed ->
        if
        :: fence(flying) ->
            assert(!told_failed);
            ahead = true;
            if
            :: tenure[0] == flying || tenure[1] == flying -> landed = true
            :: else -> flying = NOBODY; told_failed = false
            fi
        :: flying = NOBODY; told_failed = false
        fi;
        tidy() }

    /* The node crashes, or resigns: nothing that it ever offered answers again */
    :: atomic { may_fail -> faults++; end_run() }
    od
}

/* One of these for each session */
#define s (_pid - NODES + 1)

active [POOL] proctype consul() {
end:
    do
    :: atomic { (session[s] == SOUND || session[s] == ENDED) && !BOUNDS_LEASE(0, s) && !BOUNDS_LEASE(1, s) ->
#ifdef REUSED_CHECK_ID
        ran_out_before[owner[s]] = true;
#endif
        session[s] = session[s] + 1;       /* EXPIRED or RAN_OUT */
        tidy() }
    :: atomic { session[s] == EXPIRED || session[s] == SOUND && may_fail ->     /* or destroyed: by hand, by serfHealth */
        if :: session[s] == SOUND -> faults++ :: else fi;
        session[s] = session[s] + 2;       /* RAN_OUT or ENDED */
        if :: holder == s -> free(false) :: else fi;
        tidy() }
    :: atomic { holder == s && may_fail -> faults++; free(false); tidy() }      /* an operator frees the lock */
    od
}
