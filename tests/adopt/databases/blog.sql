-- A blog in two schemas: people in one, what they write in the other.

create schema auth;
create schema blog;

create table auth.users (
    id         uuid primary key default gen_random_uuid(),
    handle     text not null,
    bio        text,
    role       text not null default 'author' check (role = 'author' or role = 'editor' or role = 'admin'),
    invited_by uuid references auth.users (id),
    inserted_at timestamptz not null default now(),
    last_modified timestamptz not null default now()
);
create unique index users_handle on auth.users (lower(handle));

create table blog.users (
    user_id uuid primary key references auth.users (id) on delete cascade,
    theme   text not null default 'light',
    settings json
);

create table blog.posts (
    id           bigserial primary key,
    author_id    uuid not null references auth.users (id) on delete restrict on update cascade,
    pinned_comment_id bigint,
    slug         text not null,
    title        text not null,
    body         text not null,
    language     char(2) not null default 'en',
    published_at timestamptz,
    deleted      boolean not null default false,
    views        bigint not null default 0,
    embedding    double precision[],
    search       tsvector generated always as (to_tsvector('simple', title || ' ' || body)) stored,
    created_at   timestamptz not null,
    constraint slug_shape check (slug ~ '^[a-z0-9-]+$'),
    unique (author_id, slug)
);
create index posts_search on blog.posts using gin (search);
create index posts_latest on blog.posts (published_at desc) where published_at is not null and not deleted;
create index posts_author on blog.posts (author_id, published_at desc nulls last);
create index posts_month on blog.posts (date_trunc('month', published_at at time zone 'UTC'));

create table blog.comments (
    id        bigserial primary key,
    post_id   bigint not null references blog.posts (id) on delete cascade,
    parent_id bigint references blog.comments (id) on delete cascade,
    author_id uuid references auth.users (id) on delete set null,
    body      text not null check (char_length(body) between 1 and 2000),
    score     integer not null default 0,
    created_at timestamptz not null default now()
);
create index comments_post on blog.comments (post_id, created_at);
create index comments_score on blog.comments (post_id, score desc);
alter table blog.posts add foreign key (pinned_comment_id) references blog.comments (id) on delete set null;

create table blog.tags (name text primary key, color text check (color in ('red', 'green', '#fff')));
create table blog.post_tags (
    post_id bigint references blog.posts (id) on delete cascade,
    tag     text references blog.tags (name) on update cascade on delete cascade,
    primary key (post_id, tag)
);
create index post_tags_tag on blog.post_tags (tag);

create table blog.page_views (
    day date not null, path text not null, hits integer not null default 0, primary key (day, path)
) partition by range (day);
create table blog.page_views_2024 partition of blog.page_views for values from ('2024-01-01') to ('2025-01-01');
create table blog.page_views_2025 partition of blog.page_views for values from ('2025-01-01') to ('2026-01-01');

insert into auth.users (id, handle, bio, role, invited_by, inserted_at, last_modified)
select md5('u' || n)::uuid, 'Writer' || n, case when n % 2 = 0 then 'Ünïcode ☃' end, (array['author', 'editor', 'admin'])[1 + n % 3],
       case when n > 1 then md5('u' || n / 2)::uuid end, timestamptz '2012-03-04 05:06:07.000089+00' + n * interval '1 day',
       timestamptz '2013-03-04 05:06:07.000089+00' + n * interval '1 day'
from generate_series(1, 30) n;
insert into blog.users select id, 'dark', '{"a": 1, "b" : [1.0, 2e2]}' from auth.users;
insert into blog.posts (author_id, slug, title, body, language, published_at, deleted, views, embedding, created_at)
select md5('u' || 1 + n % 30)::uuid, 'post-' || n, 'Post ' || n, repeat('word ' || n || ' ', 20), 'de',
       case when n % 3 > 0 then timestamptz '2024-01-01 00:00:00+00' + n * interval '1 day' end, n % 11 = 0, n * 1000000000::bigint,
       case when n % 2 = 0 then array[n / 3.0, 1e-7, -0.0] end, timestamptz '2023-01-01 00:00:00.123456+00' + n * interval '1 hour'
from generate_series(1, 60) n;
insert into blog.comments (post_id, parent_id, author_id, body, score, created_at)
select 1 + n % 60, case when n > 60 then n - 60 end, case when n % 4 > 0 then md5('u' || 1 + n % 30)::uuid end, 'Comment ' || n, n % 13 - 6,
       timestamptz '2024-01-01 00:00:00+00' + n * interval '1 hour'
from generate_series(1, 150) n;
update blog.posts set pinned_comment_id = id where id <= 20;
insert into blog.tags values ('redis', 'red'), ('postgres', null), ('python', '#fff');
insert into blog.post_tags select 1 + n, (array['redis', 'postgres', 'python'])[1 + n % 3] from generate_series(0, 39) n;
insert into blog.page_views select date '2024-06-01' + n, '/p/' || n % 5, n from generate_series(0, 300) n;
