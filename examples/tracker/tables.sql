create table users (
    name text primary key, password blob not null, is_admin integer not null default 0, token blob unique
);
create table projects (key text primary key, title text not null);
create table issues (
    number integer primary key, project text not null references projects, author text not null references users,
    title text not null, text text not null, priority text not null, due text, labels text not null, closed integer not null
);
create table comments (
    id integer primary key, issue integer not null references issues, author text not null references users, text text not null
);
create table attachments (
    id integer primary key, issue integer not null references issues, folder text not null, name text not null
);
create view overview as
    select key, projects.title, sum(number is not null and closed = 0) as open
    from projects left join issues on project = key group by key;
