-- The tables of the PostgreSQL baseline.
--
-- PostgreSQL differs from Redis in these points; tests that compare the two avoid them:
--   * text and jsonb refuse the character NUL, and text that is not UTF-8 (lone surrogates): ValidationError.
--   * jsonb sorts the members of objects by length and name, and keeps one of several equal names. Equal dicts stay equal.
--   * jsonb stores numbers as decimals: -0.0 is read back as 0.0, which is equal. Floats keep their point, because they
--     are sent without an exponent, and integers keep all digits.
--   * an indexed text value of more than about 2,700 bytes (after compression) is refused: ValidationError.
--   * lower() is the C library's: it does not change characters whose lower case is several characters (U+0130).
--   * times have microseconds; the driver refuses a year after 9999 or before 1.
--   * a parent in another workflow, or a task that is its own ancestor, is accepted; neither is reached from the
--     top-level tasks, so the workflow does not show it.
--   * there is no retention: a row stays until it is deleted.
--
-- seq and touched order rows of the same microsecond: seq rises with every insert, touched with every write.

create sequence if not exists touches;

create table users (
    id         text primary key,
    email      text not null,
    role       text not null,
    created_at timestamptz not null default clock_timestamp(),
    seq        bigint generated always as identity
);

create unique index users_email_key on users (lower(email));
create index users_role on users (role);

create table api_keys (
    id          text primary key,
    user_id     text not null constraint api_keys_user_id_fkey references users (id) on delete cascade,
    hash        bytea not null,
    fingerprint bytea not null constraint api_keys_fingerprint_key unique,
    prefix      text not null constraint api_keys_prefix_key unique,
    created_at  timestamptz not null default clock_timestamp(),
    last_used   timestamptz,
    seq         bigint generated always as identity
);

create index api_keys_user_id on api_keys (user_id);
create index api_keys_created_at on api_keys (created_at);

create table workflow_states (
    workflow_exec_id text primary key,
    workflow_id      text not null,
    status           text not null,
    usage            jsonb,
    input            jsonb,
    output           jsonb,
    error            jsonb,
    created_at       timestamptz not null default clock_timestamp(),
    updated_at       timestamptz not null default clock_timestamp(),
    seq              bigint generated always as identity,
    touched          bigint not null default nextval('touches')
);

create index workflow_states_status on workflow_states (status);
create index workflow_states_workflow_id on workflow_states (workflow_id);
create index workflow_states_workflow_id_status on workflow_states (workflow_id, status);
create index workflow_states_created_at on workflow_states (created_at);
create index workflow_states_updated_at on workflow_states (updated_at);

create table task_states (
    task_exec_id     text primary key,
    task_id          text not null,
    workflow_exec_id text not null
        constraint task_states_workflow_exec_id_fkey references workflow_states (workflow_exec_id) on delete cascade,
    workflow_id      text not null,
    component        text not null,
    status           text not null,
    execution_type   text not null default 'basic',
    parent_state_id  text
        constraint task_states_parent_state_id_fkey references task_states (task_exec_id) on delete cascade,
    agent_id         text,
    action_id        text,
    tool_id          text,
    usage            jsonb,
    input            jsonb,
    output           jsonb,
    error            jsonb,
    created_at       timestamptz not null default clock_timestamp(),
    updated_at       timestamptz not null default clock_timestamp(),
    seq              bigint generated always as identity,
    touched          bigint not null default nextval('touches'),

    constraint agent_needs_action check (agent_id is null or action_id is not null),
    constraint basic_runs_one_thing check (
        execution_type <> 'basic'
        or (agent_id is not null and action_id is not null and tool_id is null)
        or (agent_id is null and action_id is null)
    ),
    constraint router_runs_nothing check (
        execution_type <> 'router' or (agent_id is null and action_id is null and tool_id is null)
    ),
    constraint agent_component check (agent_id is null or component = 'agent'),
    -- Only a task that is neither basic nor router can have both; then its agent decides.
    constraint tool_component check (tool_id is null or agent_id is not null or component = 'tool')
);

create index task_states_status on task_states (status);
create index task_states_workflow_id on task_states (workflow_id);
create index task_states_workflow_exec_id on task_states (workflow_exec_id);
create index task_states_task_id on task_states (task_id);
create index task_states_component on task_states (component);
create index task_states_agent_id on task_states (agent_id);
create index task_states_tool_id on task_states (tool_id);
create index task_states_action_id on task_states (action_id);
create index task_states_created_at on task_states (created_at);
create index task_states_updated_at on task_states (updated_at);
create index task_states_execution_type on task_states (execution_type);
create index task_states_parent_state_id on task_states (parent_state_id);

create index task_states_exec_task on task_states (workflow_exec_id, task_id);
create index task_states_exec_agent on task_states (workflow_exec_id, agent_id);
create index task_states_exec_tool on task_states (workflow_exec_id, tool_id);
create index task_states_exec_execution_type on task_states (workflow_exec_id, execution_type);
create index task_states_exec_status on task_states (workflow_exec_id, status);
create index task_states_workflow_task on task_states (workflow_id, task_id);
create index task_states_workflow_agent on task_states (workflow_id, agent_id);
create index task_states_workflow_tool on task_states (workflow_id, tool_id);
create index task_states_workflow_action on task_states (workflow_id, action_id);
create index task_states_exec_status_type on task_states (workflow_exec_id, status, execution_type);
create index task_states_parent_status on task_states (parent_state_id, status);
create index task_states_parent_exec on task_states (parent_state_id, workflow_exec_id);
create index task_states_parent_task_created on task_states (parent_state_id, task_id, created_at desc);
create index task_states_parent_output on task_states (parent_state_id) where output is not null;
create index task_states_exec_top on task_states (workflow_exec_id) where parent_state_id is null;
