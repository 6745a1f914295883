-- A shop, as many applications have one.

create extension if not exists plpgsql;
create type order_status as enum ('cart', 'paid', 'sent', 'returned');
create domain positive_amount as numeric(10, 2) check (value >= 0);
create domain email_address as text not null check (value <> '' and length(value) <= 200);
create type measures as (width int, height int, unit text);

create table customers (
    id          bigint generated always as identity primary key,
    email       email_address,
    full_name   varchar(120) not null,
    password_hash bytea not null,
    phone       text,
    birthday    date,
    tags        text[] not null default '{}',
    preferences jsonb not null default '{}',
    external_id uuid unique,
    is_active   boolean not null default true,
    balance     positive_amount not null default 0.00,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now()
);
comment on table customers is 'People who buy; "guests" too.';
comment on column customers.phone is 'As they wrote it.';
create unique index customers_email_lower on customers (lower(email));
create index customers_name on customers (full_name text_pattern_ops);
create index customers_tags on customers using gin (tags);
create index customers_preferences on customers using gin (preferences);
create index customers_active on customers (created_at) where is_active;

create table categories (
    id        serial primary key,
    parent_id integer references categories (id) on delete set null,
    slug      text not null unique,
    title     text not null,
    position  smallint not null default 0
);
create index categories_parent on categories (parent_id, position);

create table products (
    sku         varchar(20) primary key,
    category_id integer not null references categories (id) on delete restrict,
    title       text not null,
    price       numeric(10, 2) not null check (price > 0),
    discount    numeric(4, 3) check (discount between 0 and 0.9),
    weight      real,
    rating      double precision default 0.5,
    stock       integer not null default 0,
    state       text not null default 'draft' check (state in ('draft', 'on-sale', 'gone')),
    size        measures,
    opens       time,
    lasts       interval,
    gross       numeric(12, 2) generated always as (price * 1.19) stored,
    attributes  jsonb,
    created_at  timestamp not null default now(),
    updated_at  timestamp,
    constraint stock_of_gone check (state <> 'gone' or stock = 0),
    constraint price_is_sane check (price < 100000 and (discount is null or price * discount >= 0))
);
create index products_category_price on products (category_id, price desc);
create index products_search on products (lower(title));
create index products_on_sale on products (category_id, created_at) where state = 'on-sale' and stock > 0;
create unique index products_one_draft on products (category_id, title) where state = 'draft';

create table orders (
    id          uuid primary key default gen_random_uuid(),
    customer_id bigint not null references customers (id) on delete cascade,
    status      order_status not null default 'cart',
    total       positive_amount not null,
    note        text,
    ip          inet,
    expires_at  timestamptz,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    constraint paid_has_total check (status = 'cart' or total > 0)
);
create index orders_customer_status on orders (customer_id, status, created_at desc);
create index orders_open on orders (expires_at) where status in ('cart', 'paid') and expires_at is not null;
create function touch() returns trigger language plpgsql as $$ begin new.updated_at := now(); return new; end $$;
create trigger orders_touch before update on orders for each row execute function touch();

create table order_items (
    order_id  uuid not null references orders (id) on delete cascade,
    line      integer not null,
    sku       varchar(20) not null references products (sku),
    quantity  integer not null check (quantity > 0),
    price     numeric(10, 2) not null,
    primary key (order_id, line),
    unique (order_id, sku) deferrable
);

create table stock_changes (
    sku   varchar(20) not null references products (sku) on delete cascade,
    at    timestamptz not null,
    delta integer not null,
    primary key (sku, at)
);
create index stock_changes_at on stock_changes using brin (at);

create table shipments (
    order_id uuid not null,
    line     integer not null,
    carrier  char(4) not null,
    code     text not null,
    foreign key (order_id, line) references order_items (order_id, line),
    constraint shipments_code unique (carrier, code)
);

create view open_orders as select * from orders where status = 'paid';

insert into categories (id, parent_id, slug, title, position)
select n, case when n > 3 then 1 + n % 3 end, 'c' || n, 'Category ' || n, n % 5 from generate_series(1, 12) n;
insert into customers (email, full_name, password_hash, phone, birthday, tags, preferences, external_id, is_active, balance,
                       created_at, updated_at)
select 'Ann.' || n || '@Example.org', 'Ann ' || n, decode(md5(n::text), 'hex'), case when n % 3 = 0 then '+49 ' || n end,
       date '1970-01-01' + n, case when n % 2 = 0 then array['new', 'vip "x"'] else '{}' end,
       jsonb_build_object('n', n, 'ratio', n / 8.0, 'deep', jsonb_build_array(n, null, true, '"ü"')),
       case when n % 4 = 0 then md5(n::text)::uuid end, n % 5 <> 0, n * 1.10,
       timestamptz '2015-01-01 00:00:00+00' + n * interval '1 day 3 microseconds',
       timestamptz '2020-01-01 00:00:00+00' + n * interval '1 hour 1 microsecond'
from generate_series(1, 60) n;
insert into products (sku, category_id, title, price, discount, weight, rating, stock, state, size, opens, lasts, attributes,
                      created_at, updated_at)
select 'SKU-' || n, 1 + n % 12, 'Thing ' || n || case when n = 7 then E'\nwith a line' else '' end, 0.01 + n, case when n % 2 = 0 then 0.125 end,
       n / 3.0, n / 7.0, n % 9, (array['draft', 'on-sale', 'on-sale'])[1 + n % 3], row (n, n + 1, 'cm')::measures,
       time '08:00' + n * interval '1 second', n * interval '1 day 2 hours 0.5 seconds',
       case when n % 5 = 0 then '{"big": 12345678901234567890, "f": 1.50}'::jsonb end,
       timestamp '2018-05-05 05:05:05.000005' + n * interval '1 minute', case when n % 2 = 0 then timestamp '2019-01-01' end
from generate_series(1, 50) n;
insert into orders (id, customer_id, status, total, note, ip, expires_at, created_at, updated_at)
select md5('o' || n)::uuid, 1 + n % 60, (array['cart', 'paid', 'sent', 'returned']::order_status[])[1 + n % 4], 1 + n * 0.5,
       case when n % 2 = 0 then 'Leave it, ''here''' end, ('10.0.0.' || n % 250)::inet,
       case when n % 3 = 0 then timestamptz '2030-01-01 00:00:00+00' end,
       timestamptz '2022-01-01 00:00:00+00' + n * interval '1 hour', timestamptz '2023-01-01 00:00:00+00' + n * interval '1 hour'
from generate_series(1, 120) n;
insert into order_items select md5('o' || n)::uuid, l, 'SKU-' || (1 + (n + l) % 50), l, 2.50
from generate_series(1, 120) n, generate_series(1, 2) l;
insert into stock_changes select 'SKU-' || (1 + n % 50), timestamptz '2022-01-01 00:00:00+00' + n * interval '1 minute', n from generate_series(1, 80) n;
insert into shipments select md5('o' || n)::uuid, 1, 'DHL', 'code ' || n from generate_series(1, 40) n;
